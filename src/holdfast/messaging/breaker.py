"""A circuit breaker around one kind of call: pybreaker's states without pybreaker's known defects.

It holds no lock during a call, admits one probe at a time if half-open, and does not count cancellations.
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
    """One breaker's state (pybreaker's names), how often it entered each state, how many calls it refused."""

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
        """Tell whether the circuit is not closed, so also while a probe is due or under way."""
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
        """Return a factor from 0.75 to 1.25, a different one each time the circuit opens."""
        return 0.75 + crc32(f"{self.name}:{self.transitions['open']}".encode()) / 2**33


class Breaker(Circuit):
    """Guards calls that all depend on one thing; for independent calls use `keyed_breaker`.

    Only exceptions of the types in `failures` count as failures; all others change no count.
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
        self._results: deque[tuple[float, bool]] = deque()
        self._in_a_row = 0
        self._retry_at = 0.0
        self._probing = False
        self._reserved_until = 0.0

    def retry_after_s(self) -> float:
        """Return 0 if calls pass, else the time until one may, at least `PROBE_S`."""
        with self._lock:
            if self._states.current_state == pybreaker.STATE_CLOSED:
                return 0.0
            return max(PROBE_S, self._retry_at - self._monotonic())

    def reserve_probe(self) -> bool:
        """Reserve the due probe for one caller's work: True once, when a probe is due.

        For callers whose guarded call happens later, elsewhere. It ends after `open_s` or by `release_probe`.
        """
        with self._lock:
            now = self._monotonic()
            due = self._states.current_state == pybreaker.STATE_OPEN and now >= self._retry_at
            if not due or now < self._reserved_until:
                return False
            self._reserved_until = now + self._settings.open_s
            return True

    def release_probe(self) -> None:
        """Undo `reserve_probe`: the work made no call."""
        with self._lock:
            self._reserved_until = 0.0

    def admits(self, wanted: int) -> int:
        """Return how many of `wanted` calls would be admitted now: all, one probe, or none."""
        with self._lock:
            if self._refuses():
                return 0
            return wanted if self._states.current_state == pybreaker.STATE_CLOSED else min(wanted, 1)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Admit one call or raise BreakerOpen; the call's exception, if any, tells how it ended."""
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
                self._results.clear()
                self._move(pybreaker.STATE_CLOSED)
            self._in_a_row = 0
            self._remember(failed=False)

    def _failed(self, *, probe: bool) -> None:
        with self._lock:
            self._probing = self._probing and not probe
            self._in_a_row += 1
            self._remember(failed=True)
            if probe or (self._states.current_state == pybreaker.STATE_CLOSED and self._exceeds_limits()):
                self._open()

    def _neutral(self, *, probe: bool) -> None:
        with self._lock:
            if probe:  # it showed nothing: the next call may probe at once
                self._probing = False
                self._move(pybreaker.STATE_OPEN)
                self._retry_at = self._monotonic()

    def _open(self) -> None:
        self._move(pybreaker.STATE_OPEN)
        self._retry_at = self._monotonic() + self._settings.open_s * self._jitter()
        self._in_a_row = 0
        self._reserved_until = 0.0

    def _remember(self, *, failed: bool) -> None:
        now = self._monotonic()
        self._results.append((now, failed))
        while self._results and (
            self._results[0][0] < now - self._settings.window_s or len(self._results) > 10_000
        ):
            self._results.popleft()

    def _exceeds_limits(self) -> bool:
        if self._in_a_row >= self._settings.failures_max:
            return True
        failed = sum(1 for _, each in self._results if each)
        return (
            len(self._results) >= self._settings.calls_min
            and failed / len(self._results) >= self._settings.share_max
        )
