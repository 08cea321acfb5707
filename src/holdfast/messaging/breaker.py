"""A circuit breaker around one kind of call: pybreaker's states, with its known defects mended.

No lock is held during a call, one probe at a time when half-open, monotonic time, cancellations are neutral.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from zlib import crc32

import pybreaker
import structlog

from holdfast.messaging.producer import BreakerOpen

log = structlog.get_logger(__name__)

PROBE_S = 1.0
STATES = CLOSED, HALF_OPEN, OPEN = ("closed", "half-open", "open")


@dataclass(frozen=True)
class BreakerSettings:
    """Open after `failures_max` failures in a row, or `share_max` of at least `calls_min` in `window_s`."""

    failures_max: int = 5
    share_max: float = 0.5
    calls_min: int = 20
    window_s: float = 10.0
    open_s: float = 5.0


class Circuit:
    """One breaker's state by pybreaker's names, how often it entered each, how many calls it refused."""

    def __init__(self, name: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._monotonic = monotonic
        self._lock = Lock()
        self._states = pybreaker.CircuitBreaker(fail_max=2**31, reset_timeout=0, name=name)
        self.rejected = 0
        self.transitions = dict.fromkeys(STATES, 0)

    @property
    def state(self) -> str:
        """Return closed, half-open or open."""
        return str(self._states.current_state)

    def is_open(self) -> bool:
        """Tell whether the circuit is not closed: also while a probe is due or under way."""
        return self.state != pybreaker.STATE_CLOSED

    def _move(self, state: str) -> None:
        if self._states.current_state == state:
            return
        {"closed": self._states.close, "half-open": self._states.half_open, "open": self._states.open}[
            state
        ]()
        self.transitions[state] += 1
        if state == pybreaker.STATE_OPEN:
            log.warning("breaker_changed", breaker=self.name, state=state)
        else:
            log.info("breaker_changed", breaker=self.name, state=state)

    def _jitter(self) -> float:
        """Return a factor from 0.75 to 1.25, another one each time that the circuit opens."""
        return 0.75 + crc32(f"{self.name}:{self.transitions['open']}".encode()) / 2**33


class Breaker(Circuit):
    """Guards calls that all depend on one thing; independent work has a `keyed_breaker`.

    Only exceptions of the types in `failures` count; all others leave it as it is.
    """

    def __init__(
        self,
        name: str,
        failures: tuple[type[BaseException], ...],
        settings: BreakerSettings | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name, monotonic)
        self._failures = failures
        self._settings = settings or BreakerSettings()
        self._ends: deque[tuple[float, bool]] = deque()
        self._in_a_row = 0
        self._retry_at = 0.0
        self._probing = False
        self._ticket_until = 0.0

    def retry_after_s(self) -> float:
        """Return 0 where calls pass, else how long until one may, at least `PROBE_S`."""
        with self._lock:
            if self._states.current_state == pybreaker.STATE_CLOSED:
                return 0.0
            return max(PROBE_S, self._retry_at - self._monotonic())

    def reserve_probe(self) -> bool:
        """Let one caller bring the work whose call will be the probe: True once, when a probe is due.

        For those who make calls only later, through others. It is void after `open_s`, or when given back.
        """
        with self._lock:
            now = self._monotonic()
            due = self._states.current_state == pybreaker.STATE_OPEN and now >= self._retry_at
            if not due or now < self._ticket_until:
                return False
            self._ticket_until = now + self._settings.open_s
            return True

    def release_probe(self) -> None:
        """Undo `reserve_probe`: nothing came of it."""
        with self._lock:
            self._ticket_until = 0.0

    def admits(self, wanted: int) -> int:
        """Return how many of `wanted` calls would be let through now: all, the one probe, or none."""
        with self._lock:
            if self._refuses():
                return 0
            return wanted if self._states.current_state == pybreaker.STATE_CLOSED else min(wanted, 1)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Admit one call or raise BreakerOpen; how the call ends is learned from the exception it raises."""
        probe = self._admit()
        try:
            yield
        except self._failures:
            self._failed(probe=probe)
            raise
        except BaseException:
            self._neutral(probe=probe)
            raise
        self._succeeded(probe=probe)

    def _refuses(self) -> bool:
        if self._states.current_state == pybreaker.STATE_OPEN:
            return self._monotonic() < self._retry_at
        return self._probing

    def _admit(self) -> bool:
        with self._lock:
            if self._refuses():
                self.rejected += 1
                raise BreakerOpen(max(0.1, self._retry_at - self._monotonic()))
            if self._states.current_state == pybreaker.STATE_CLOSED:
                return False
            self._probing = True
            self._move(pybreaker.STATE_HALF_OPEN)
            return True

    def _succeeded(self, *, probe: bool) -> None:
        with self._lock:
            if probe:
                self._probing = False
                self._ends.clear()
                self._move(pybreaker.STATE_CLOSED)
            self._in_a_row = 0
            self._remember(failed=False)

    def _failed(self, *, probe: bool) -> None:
        with self._lock:
            self._probing = self._probing and not probe
            self._in_a_row += 1
            self._remember(failed=True)
            if probe or (self._states.current_state == pybreaker.STATE_CLOSED and self._is_too_much()):
                self._open()

    def _neutral(self, *, probe: bool) -> None:
        with self._lock:
            if probe:  # nothing was learned: the next call may probe at once
                self._probing = False
                self._move(pybreaker.STATE_OPEN)
                self._retry_at = self._monotonic()

    def _open(self) -> None:
        self._move(pybreaker.STATE_OPEN)
        self._retry_at = self._monotonic() + self._settings.open_s * self._jitter()
        self._in_a_row = 0
        self._ticket_until = 0.0

    def _remember(self, *, failed: bool) -> None:
        now = self._monotonic()
        self._ends.append((now, failed))
        while self._ends and (self._ends[0][0] < now - self._settings.window_s or len(self._ends) > 10_000):
            self._ends.popleft()

    def _is_too_much(self) -> bool:
        if self._in_a_row >= self._settings.failures_max:
            return True
        failed = sum(1 for _, each in self._ends if each)
        return (
            len(self._ends) >= self._settings.calls_min
            and failed / len(self._ends) >= self._settings.share_max
        )
