"""Logs as JSON lines through a queue that never blocks, and the metrics that every service has.

A stopped reader of stdout costs log lines (counted), never a checkout. Nothing gets past `redaction`.
"""

import atexit
import logging
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from holdfast.runtime.redaction import redact, redact_text

LINES_MAX = 10_000
LAST_LINES_S = 1.0

dropped = Counter("log_lines_dropped_total", "Log lines that no reader took in time.", registry=None)


class _Lines:
    """A bounded queue of log lines and the daemon thread that writes them; None is the last."""

    def __init__(self) -> None:
        self._queue: queue.Queue[str | None] = queue.Queue(LINES_MAX)
        self._thread = threading.Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()
        atexit.register(self._end)

    def put(self, line: str) -> None:
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            dropped.inc()

    def _write(self) -> None:
        ended = False
        while not ended:
            lines = [self._queue.get()]
            while len(lines) < 500 and not self._queue.empty():
                lines.append(self._queue.get_nowait())
            ended = None in lines
            sys.stdout.write("".join(f"{line}\n" for line in lines if line is not None))
            sys.stdout.flush()

    def _end(self) -> None:
        """Wait a moment for the last lines; a reader who does not read keeps no process alive."""
        try:
            self._queue.put(None, timeout=LAST_LINES_S)
        except queue.Full:
            return
        self._thread.join(LAST_LINES_S)


class _QueueLogger:
    def __init__(self, put: Callable[[str], None]) -> None:
        self._put = put

    def msg(self, message: str) -> None:
        self._put(message)

    debug = info = warning = error = critical = exception = msg


class _StdlibHandler(logging.Handler):
    """Routes the standard library's records (uvicorn, librdkafka, psycopg) into the same lines."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        error = record.exc_info if record.exc_info and record.exc_info[0] else None
        logger.log(record.levelno, "library_message", text=record.getMessage()[:2000], exc_info=error)


def configure_logs(service: str, instance: str, version: str, level: str) -> None:
    """Send all logs of this process to stdout, one JSON object a line, and have nothing else speak for it."""
    lines = _Lines()
    structlog.contextvars.bind_contextvars(service=service)

    def stamp(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**event, "service": service, "instance": instance, "version": version}

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            structlog.processors.format_exc_info,
            lambda _logger, _method, event: redact(event),
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=lambda *_: _QueueLogger(lines.put),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_StdlibHandler()]
    root.setLevel(logging.WARNING)
    sys.excepthook = _process_died
    threading.excepthook = _thread_died


def _process_died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say it at once: nobody will write what is in the queue."""
    sys.stderr.write(redact_text("".join(traceback.format_exception(kind, error, trace))))


def _thread_died(died: threading.ExceptHookArgs) -> None:
    if died.exc_type is not SystemExit:
        error = died.exc_value or died.exc_type()
        name = died.thread.name if died.thread else ""
        structlog.get_logger(__name__).error("thread_died", thread=name, exc_info=error)


class Readings:
    """A collector over live objects: values are read when scraped, so that hot paths pay nothing."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()

    def describe(self) -> Iterable[Metric]:
        return ()


L = TypeVar("L", bound=tuple[str, ...])


def counter(name: str, text: str, values: Mapping[L, float], labels: tuple[str, ...] = ()) -> Metric:
    """Make one counter family from label values to values."""
    family = CounterMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def gauge(name: str, text: str, values: Mapping[L, float], labels: tuple[str, ...] = ()) -> Metric:
    """Make one gauge family from label values to values."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def new_registry() -> CollectorRegistry:
    """Make the registry of a process; everything in it shows on /metrics."""
    registry = CollectorRegistry()
    registry.register(dropped)
    return registry
