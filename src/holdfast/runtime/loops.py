"""Worker threads with a heartbeat: if a loop dies, its process logs that and ends.

The body of a loop does one round and returns how long to rest before the next.
"""

import threading
import time
from collections.abc import Callable

import structlog

STUCK_AFTER_S = 90.0

log = structlog.get_logger(__name__)


class Loop:
    """One thread that calls `run_once` until stopped; `run_once` returns the seconds to rest before the next.

    `drain` is called once, after the last round, if the loop was stopped and did not die.
    """

    def __init__(
        self,
        name: str,
        run_once: Callable[[], float],
        on_death: Callable[[], None],
        drain: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._run_once = run_once
        self._drain = drain
        self._on_death = on_death
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._heartbeat = time.monotonic()
        self.dead = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """End the loop's rest, if it rests now."""
        self._wake.set()

    def stop(self) -> None:
        """Ask the loop to end after its current round."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False if the round lasts longer than the timeout."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def is_well(self) -> bool:
        """Tell whether the thread lives and has begun a round in the last STUCK_AFTER_S."""
        return not self.dead and time.monotonic() - self._heartbeat < STUCK_AFTER_S

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._heartbeat = time.monotonic()
                rest_s = self._run_once()
                if rest_s > 0:
                    self._wake.wait(rest_s)
                    self._wake.clear()
            self._drain()
        except BaseException:
            self.dead = True
            log.exception("loop_died", loop=self.name)
            self._on_death()
