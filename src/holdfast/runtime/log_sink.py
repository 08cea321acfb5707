"""Writes log lines through a bounded queue and one thread, so that a slow reader or disk delays nothing else.

A write that fails is tried again as long as the process lives. Lines that find the queue full are dropped and
counted; once lines can be written again, one line says how many were lost.
"""

import atexit
import errno
import os
import queue
import select
import threading
from collections.abc import Callable

from prometheus_client import Counter

LINES_MAX = 10_000
BATCH_MAX = 500
RETRY_S = 1.0
LAST_LINES_S = 1.0

dropped = Counter("log_lines_dropped_total", "Log lines that could not be written in time.", registry=None)
failures = Counter(
    "log_write_failures_total", "Writes of log lines that failed, by errno.", ["errno"], registry=None
)


class LogSink:
    """Writes lines to a file descriptor, in order. `lost_line` makes the line about lost lines."""

    def __init__(
        self,
        descriptor: int,
        lost_line: Callable[[int], str],
        lines_max: int = LINES_MAX,
        retry_s: float = RETRY_S,
    ) -> None:
        self._descriptor = descriptor
        self._lost_line = lost_line
        self._retry_s = retry_s
        self._queue: queue.Queue[str | None] = queue.Queue(lines_max)
        self._lock = threading.Lock()
        self._lost = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def start(self) -> None:
        """Start the thread; when the process ends, the thread gets LAST_LINES_S for the last lines."""
        self._thread.start()
        atexit.register(self.end)

    def put(self, line: str) -> None:
        """Queue a line; if the queue is full, drop and count it. Never waits, never raises."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            dropped.inc()
            with self._lock:
                self._lost += 1

    def end(self) -> None:
        """Wait a moment for the last lines; a reader that does not read must not block the end."""
        self._ending.set()
        try:
            self._queue.put(None, timeout=LAST_LINES_S)
        except queue.Full:
            return
        self._thread.join(LAST_LINES_S)

    def _run(self) -> None:
        ended = False
        while not ended:
            lines = [self._queue.get()]
            while len(lines) < BATCH_MAX and not self._queue.empty():
                lines.append(self._queue.get_nowait())
            ended = None in lines
            self._write([line for line in lines if line is not None])
            if lost := self._take_lost():
                self._write([self._lost_line(lost)])

    def _take_lost(self) -> int:
        with self._lock:
            lost, self._lost = self._lost, 0
        return lost

    def _write(self, lines: list[str]) -> None:
        """Write whole lines, and repeat until it succeeds; give up only when the process ends."""
        whole = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
        rest = memoryview(whole)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError as error:
                failures.labels(errno.errorcode.get(error.errno or 0, "unknown")).inc()
                if error.errno == errno.EPIPE:  # the next reader begins with a whole line
                    begin = whole.rfind(b"\n", 0, len(whole) - len(rest)) + 1
                    rest = memoryview(whole)[begin:]
                if self._ending.is_set():
                    return
                self._wait(error)

    def _wait(self, error: OSError) -> None:
        """Wait until the next try can succeed; for a non-blocking descriptor, poll tells when."""
        if error.errno == errno.EAGAIN:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            poll.poll(self._retry_s * 1000)
        else:
            self._ending.wait(self._retry_s)
