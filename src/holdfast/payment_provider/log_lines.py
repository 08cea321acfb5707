"""Log lines go through a bounded queue and their own thread, so that a blocked log reader delays no payment.

A failed write is tried again; lines lost meanwhile are counted and reported once writing works again.
"""

import atexit
import errno
import json
import os
import queue
import select
import threading
from typing import Any

LINES_MAX = 10_000
BATCH_MAX = 500
RETRY_S = 1.0
LAST_LINES_S = 1.0


class LogLines:
    """A text stream for loggers, on a file descriptor. `dropped` counts lines that had no room."""

    def __init__(self, descriptor: int, lines_max: int = LINES_MAX, retry_s: float = RETRY_S) -> None:
        self._descriptor = descriptor
        self._retry_s = retry_s
        self._queue: queue.Queue[str | None] = queue.Queue(lines_max)
        self._ending = threading.Event()
        self._reported = 0
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="log-lines", daemon=True)

    def start(self) -> None:
        """Start the thread; the end of the process waits a moment for the last lines."""
        self._thread.start()
        atexit.register(self.end)

    def write(self, text: str) -> int:
        """Queue a text; if the queue is full, drop and count it. Never waits."""
        try:
            self._queue.put_nowait(text)
        except queue.Full:
            self.dropped += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread writes as soon as it can."""

    def end(self) -> None:
        """Wait a moment for the last lines."""
        self._ending.set()
        try:
            self._queue.put(None, timeout=LAST_LINES_S)
        except queue.Full:
            return
        self._thread.join(LAST_LINES_S)

    def _run(self) -> None:
        ended = False
        while not ended:
            texts = [self._queue.get()]
            while len(texts) < BATCH_MAX and not self._queue.empty():
                texts.append(self._queue.get_nowait())
            ended = None in texts
            self._write("".join(text for text in texts if text is not None))
            if (lost := self.dropped - self._reported) > 0:
                self._reported += lost
                line: dict[str, Any] = {"event": "log_lines_lost", "level": "warning", "lines": lost}
                self._write(json.dumps(line) + "\n")

    def _write(self, text: str) -> None:
        whole = text.encode("utf-8", "backslashreplace")
        rest = memoryview(whole)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError as error:
                if error.errno == errno.EPIPE:  # the next reader begins with a whole line
                    rest = memoryview(whole)[whole.rfind(b"\n", 0, len(whole) - len(rest)) + 1 :]
                if self._ending.is_set():
                    return
                self._wait(error)

    def _wait(self, error: OSError) -> None:
        if error.errno == errno.EAGAIN:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            poll.poll(self._retry_s * 1000)
        else:
            self._ending.wait(self._retry_s)
