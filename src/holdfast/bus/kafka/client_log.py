"""Sends librdkafka's log to Python's, each kind of line at most once in `QUIET_S`.

During an outage librdkafka repeats a line twenty times a second, for each client.
"""

import logging
import re
import time

QUIET_S = 30.0
_KINDS_MAX = 256


class _RepeatFilter(logging.Filter):
    """Drops a line that was logged lately, numbers aside. Errors become warnings: librdkafka recovers."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = re.sub(r"\d+", "", record.getMessage())
        now = time.monotonic()
        if now - self._said.get(kind, -QUIET_S) < QUIET_S:
            return False
        if len(self._said) >= _KINDS_MAX:
            self._said.clear()
        self._said[kind] = now
        if record.levelno == logging.ERROR:
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return True


def client_log(side: str) -> logging.Logger:
    """Return the logger to hand to a client of this kind ("producer", "consumer", "admin")."""
    log = logging.getLogger(f"holdfast.bus.kafka.{side}")
    if not any(isinstance(each, _RepeatFilter) for each in log.filters):
        log.addFilter(_RepeatFilter())
    return log
