"""Lines for people, from threads that must not wait: a terminal that is stopped or gone holds up none."""

import queue
from collections.abc import Callable
from threading import Thread

LINES_MAX = 1_000
LAST_LINES_S = 1.0


class ConsoleWriter:
    """Calls `say` with each line, on a thread of its own. `unsaid` counts lines that nobody could take."""

    def __init__(self, say: Callable[[str], None], lines_max: int = LINES_MAX) -> None:
        self._say = say
        self._lines: queue.Queue[str | None] = queue.Queue(lines_max)
        self._thread = Thread(target=self._run, name="teller", daemon=True)
        self.unsaid = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def tell(self, line: str) -> None:
        """Take a line, or count it if there is no room. Never waits, never raises."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.unsaid += 1

    def end(self) -> None:
        """Say what is left, if somebody listens."""
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
            except OSError:  # a reader that died, a disk that is full: the next line may find another
                self.unsaid += 1
