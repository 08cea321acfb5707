"""Writes logs as JSON lines through a queue that never blocks, and makes the metrics of every service.

`log_sink` writes the lines; every line goes through `redaction` first.
"""

import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeVar
from zlib import crc32

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from holdfast.runtime.log_sink import LogSink, dropped, failures
from holdfast.runtime.redaction import redact, redact_text

LAST_WORDS_S = 1.0
SAMPLED = frozenset({"checkout_accepted", "saga_ended"})
"""Events that are logged once for every successful saga, so that their number grows with the traffic."""


class _QueueLogger:
    def __init__(self, put: Callable[[str], None]) -> None:
        self._put = put

    def msg(self, message: str) -> None:
        self._put(message)

    debug = info = warning = error = critical = exception = msg


class _StdlibHandler(logging.Handler):
    """Writes records of the standard library's logging (uvicorn, librdkafka, psycopg) as the same lines."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        error = record.exc_info if record.exc_info and record.exc_info[0] else None
        logger.log(record.levelno, "library_message", text=record.getMessage()[:2000], exc_info=error)


def configure_logs(service: str, instance: str, version: str, level: str, saga_share: float = 1.0) -> None:
    """Send all logs of this process to stdout, one JSON object per line; libraries' logs go there too."""
    identity = {"service": service, "instance": instance, "version": version}
    sink = LogSink(sys.stdout.fileno(), lambda lost: _lost_line(lost, identity))
    sink.start()
    structlog.contextvars.bind_contextvars(service=service)

    def stamp(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**event, **identity}

    structlog.configure(
        processors=[
            lambda _logger, _method, event: _sampled(event, saga_share),
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            lambda _logger, _method, event: redact(event),
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=lambda *_: _QueueLogger(sink.put),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_StdlibHandler()]
    root.setLevel(logging.WARNING)
    sys.excepthook = _process_died
    threading.excepthook = _thread_died


def _sampled(event: MutableMapping[str, Any], share: float) -> MutableMapping[str, Any]:
    """Log the SAMPLED events of a share of the sagas only: for each saga all of these lines, or none."""
    if event["event"] in SAMPLED and crc32(str(event.get("saga_id")).encode()) >= share * 2**32:
        raise structlog.DropEvent
    return event


def _lost_line(lost: int, identity: Mapping[str, str]) -> str:
    """Make the line that says how many lines were lost; it must not go through the queue that was full."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"event": "log_lines_lost", "level": "warning", "lines": lost, **identity, "ts": now})


def _process_died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write the error to stderr, since the queue is not written any more; wait LAST_WORDS_S at most."""
    text = redact_text("".join(traceback.format_exception(kind, error, trace)))
    thread = threading.Thread(target=_write_last, args=[text], daemon=True)
    thread.start()
    thread.join(LAST_WORDS_S)


def _write_last(text: str) -> None:
    with suppress(OSError):  # stderr was the last place to write to
        sys.stderr.write(text)
        sys.stderr.flush()


def _thread_died(died: threading.ExceptHookArgs) -> None:
    if died.exc_type is not SystemExit:
        error = died.exc_value or died.exc_type()
        name = died.thread.name if died.thread else ""
        structlog.get_logger(__name__).error("thread_died", thread=name, exc_info=error)


class MetricsSource:
    """A collector that reads live objects when it is scraped, so that hot paths pay nothing for metrics."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()

    def describe(self) -> Iterable[Metric]:
        return ()


L = TypeVar("L", bound=tuple[str, ...])


def counter(name: str, text: str, values: Mapping[L, float], labels: tuple[str, ...] = ()) -> Metric:
    """Make one counter family; `values` maps label values to the counter's value."""
    family = CounterMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def gauge(name: str, text: str, values: Mapping[L, float], labels: tuple[str, ...] = ()) -> Metric:
    """Make one gauge family; `values` maps label values to the gauge's value."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def new_registry() -> CollectorRegistry:
    """Make the registry of a process; /metrics shows everything in it."""
    registry = CollectorRegistry()
    registry.register(dropped)
    registry.register(failures)
    return registry
