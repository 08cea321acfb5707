"""The process of the payment provider simulator: settings, socket, signals, server.

`provider` builds what it serves.
"""

import logging
import socket
import sys
from types import FrameType

import structlog
import uvicorn

from holdfast.http_server.config import GuardedConfig
from holdfast.http_server.limits import Limits
from holdfast.payment_provider.api import BODY_MAX
from holdfast.payment_provider.execution import CuttableProtocol
from holdfast.payment_provider.ledger import LedgerError
from holdfast.payment_provider.log_lines import LogLines
from holdfast.payment_provider.provider import Provider
from holdfast.payment_provider.settings import PREFIX, Settings, SettingsError, load

log = structlog.get_logger()

DRAIN_S = 10
LIMITS = Limits(connections_max=2_000, body_bytes_max=BODY_MAX)


class ProviderServer(uvicorn.Server):
    """Drains at the first signal and leaves the exit status to `main`; the second signal ends it at once."""

    def __init__(self, provider: Provider) -> None:
        config = GuardedConfig(
            provider.app(), LIMITS, CuttableProtocol, lifespan="on", timeout_graceful_shutdown=DRAIN_S
        )
        super().__init__(config)
        self._provider = provider
        provider.on_death = self.stop

    def stop(self) -> None:
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.stop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._provider.timer.drain()
        await super().shutdown(sockets)


def main() -> None:
    """Serve until a signal; exit with 0 after a drain, 1 if the ledger failed, 2 for unusable settings."""
    lines = LogLines(sys.stdout.fileno())
    lines.start()
    _log_json(lines)
    try:
        settings, secrets = load()
        listener = _listen(settings)
        provider = Provider(settings, secrets)
        provider.metrics.log_lines_dropped(lambda: lines.dropped)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201  the operator reads this, not a log collector
        sys.exit(2)
    except LedgerError as error:
        print(f"{PREFIX}LEDGER: {error}", file=sys.stderr)  # noqa: T201  as above
        sys.exit(2)
    log.info("listening", host=settings.http_host, port=listener.getsockname()[1])
    ProviderServer(provider).run([listener])
    log.info("stopped")
    sys.exit(1 if provider.dead else 0)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    try:
        return socket.create_server((settings.http_host, settings.http_port), family=family, backlog=2048)
    except OSError as error:
        place = f"{settings.http_host} port {settings.http_port}"
        raise SettingsError(f"{PREFIX}HTTP_PORT: cannot listen on {place}: {error.strerror}") from error


class _LineLogger:
    def __init__(self, lines: LogLines) -> None:
        self._lines = lines

    def msg(self, message: str) -> None:
        self._lines.write(f"{message}\n")

    debug = info = warning = error = critical = exception = msg


def _log_json(lines: LogLines) -> None:
    """Log one JSON object per line, for our own events and for those of libraries."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", key="ts"),
        structlog.processors.format_exc_info,
    ]
    render = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, render],
        logger_factory=lambda *_: _LineLogger(lines),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(lines)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=render))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


if __name__ == "__main__":
    main()
