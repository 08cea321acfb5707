"""Worker threads with a heartbeat: a loop that dies takes the process down with it, never quietly.

A loop's body does one round and returns how long it wants to rest.
"""

import threading
import time
from collections.abc import Callable

import structlog

STUCK_AFTER_S = 90.0

log = structlog.get_logger(__name__)


class Loop:
    """One thread calling `round_` until stopped; `round_` returns seconds to rest before the next.

    `drain` is called once, after the last round of a loop that was stopped.
    """

    def __init__(
        self,
        name: str,
        run_once: Callable[[], float],
        on_death: Callable[[], None],
        drain: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._round = run_once
        self._drain = drain
        self._on_death = on_death
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._beat = time.monotonic()
        self.dead = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """End the rest that the loop may be taking."""
        self._wake.set()

    def stop(self) -> None:
        """Ask the loop to end after its round."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False where the round goes on past the timeout."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def is_well(self) -> bool:
        """Tell whether the thread lives and has begun a round lately."""
        return not self.dead and time.monotonic() - self._beat < STUCK_AFTER_S

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._beat = time.monotonic()
                rest_s = self._round()
                if rest_s > 0:
                    self._wake.wait(rest_s)
                    self._wake.clear()
            self._drain()
        except BaseException:
            self.dead = True
            log.exception("loop_died", loop=self.name)
            self._on_death()
