"""Writes lines for people from threads that must not wait: a stopped or closed terminal delays none."""

import queue
from collections.abc import Callable
from threading import Thread

LINES_MAX = 1_000
LAST_LINES_S = 1.0


class ConsoleWriter:
    """Calls `say` with each line, on a thread of its own. `unsaid` counts lines that could not be written."""

    def __init__(self, say: Callable[[str], None], lines_max: int = LINES_MAX) -> None:
        self._say = say
        self._lines: queue.Queue[str | None] = queue.Queue(lines_max)
        self._thread = Thread(target=self._run, name="console", daemon=True)
        self.unsaid = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue a line, or count it if there is no room. Never waits, never raises."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.unsaid += 1

    def end(self) -> None:
        """Write the lines that are left, if the terminal takes them within a moment."""
        if not self._thread.is_alive():
            return
        try:
            self._lines.put(None, timeout=LAST_LINES_S)
        except queue.Full:
            return
        self._thread.join(LAST_LINES_S)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._say(line)
            except OSError:  # a closed terminal or a full disk: the next line may succeed
                self.unsaid += 1
