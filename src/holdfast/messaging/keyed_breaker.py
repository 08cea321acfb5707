"""A circuit breaker for calls that are independent of each other: it counts distinct keys, not calls.

If a shared dependency fails for one part of the work (one card brand, one customer), the rest must go on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from holdfast.messaging.breaker import CLOSED, HALF_OPEN, OPEN, Circuit
from holdfast.messaging.producer import BreakerOpen

KEYS_REMEMBERED_MAX = 10_000


@dataclass(frozen=True)
class KeyedSettings:
    """Open after `failures_max` distinct keys in a row, or `few_failures` and `silence_s` without success.

    If 60 % of all keys fail, 32 failures in a row happen by chance once in 10 million runs. Fewer failures
    prove an outage only if no call succeeds for a while: then calls are few, and an open breaker delays none.
    """

    failures_max: int = 32
    few_failures: int = 5
    silence_s: float = 10.0
    rest_s: float = 1.0
    rest_max_s: float = 5.0
    probes_max: int = 16
    successes: int = 3


@dataclass
class Evidence:
    """Which distinct keys have failed since the last success. Pure: time is a parameter."""

    settings: KeyedSettings
    _since_success: dict[str, float] = field(default_factory=dict)
    _failed_before: dict[str, None] = field(default_factory=dict)
    _success_s: float = float("-inf")

    def is_new(self, key: str) -> bool:
        """Tell whether this key has not failed before."""
        return key not in self._failed_before

    def succeeded(self, key: str, now_s: float) -> None:
        """Record a success: the other side works."""
        self._failed_before.pop(key, None)
        self._success_s = now_s
        self._since_success.clear()

    def failed(self, key: str, began_s: float, *, fresh: bool) -> None:
        """Count a failure, unless the key failed before, or another call succeeded while this one lasted."""
        if fresh and self.is_new(key) and began_s >= self._success_s:
            self._since_success[key] = began_s
        self._failed_before[key] = None
        if len(self._failed_before) > KEYS_REMEMBERED_MAX:
            del self._failed_before[next(iter(self._failed_before))]

    def is_outage(self, now_s: float) -> bool:
        """Tell whether these failures mean that almost no call can succeed now."""
        failed = len(self._since_success)
        if failed < self.settings.few_failures:
            return False
        silent_s = now_s - min(self._since_success.values())
        return failed >= self.settings.failures_max or silent_s >= self.settings.silence_s


@dataclass
class _Probes:
    """How many probes a round admits: twice as many as the round before, if that round used all of them."""

    size: int = 0
    left: int = 0

    def renew(self, most: int) -> None:
        if self.left == 0:
            self.size = max(1, min(2 * self.size, most))
        self.left = self.size

    def grow(self, most: int) -> None:
        self.size = max(1, min(2 * self.size, most))
        self.left = self.size


class KeyedBreaker(Circuit):
    """Guards calls by key. Only exceptions of the types in `failures` count.

    `fresh`: this is the key's first attempt. While the circuit is open, each round admits some probes: fresh
    calls and others have separate counts, so that keys that keep failing never use up the fresh calls'
    probes. Probes that a round leaves unused stay available. A few successes close the circuit.
    """

    def __init__(
        self,
        name: str,
        failures: tuple[type[BaseException], ...],
        settings: KeyedSettings,
        monotonic: Callable[[], float],
    ) -> None:
        super().__init__(name, monotonic)
        self._failures = failures
        self._settings = settings
        self._evidence = Evidence(self._settings)
        self._fresh_probes, self._other_probes = _Probes(), _Probes()
        self._probing = 0
        self._successes = 0
        self._rest_s = 0.0
        self._round_at = 0.0

    def admits(self, wanted: int, *, fresh: bool = True) -> int:
        """Return how many of `wanted` calls would be admitted now: all, or some probes."""
        with self._lock:
            if self.state == CLOSED:
                return wanted
            self._renew()
            return min(wanted, self._probes(fresh=fresh).left)

    @contextmanager
    def guard(self, key: str, *, fresh: bool = True) -> Iterator[None]:
        """Admit one call or raise BreakerOpen; the call's exception, if any, tells how it ended."""
        began_s = self._monotonic()
        probes = self._admit(key, fresh=fresh)
        try:
            yield
        except self._failures:
            self._failed(key, began_s, fresh=fresh, probe=probes is not None)
            raise
        except BaseException:
            self._neutral(probes)
            raise
        self._succeeded(key, probe=probes is not None)

    def _admit(self, key: str, *, fresh: bool) -> _Probes | None:
        """Return None while the circuit is closed, else the count from which the probe was taken."""
        with self._lock:
            if self.state == CLOSED:
                return None
            self._renew()
            probes = self._probes(fresh=fresh and self._evidence.is_new(key))
            if not probes.left:
                self.rejected += 1
                raise BreakerOpen(max(0.1, self._round_at - self._monotonic()))
            probes.left -= 1
            self._probing += 1
            self._move(HALF_OPEN)
            return probes

    def _probes(self, *, fresh: bool) -> _Probes:
        return self._fresh_probes if fresh else self._other_probes

    def _renew(self) -> None:
        """Begin a round if it is due, even if probes of the last round are under way: they may hang long."""
        now = self._monotonic()
        if now < self._round_at:
            return
        for probes in (self._fresh_probes, self._other_probes):
            probes.renew(self._settings.probes_max)
        self._rest_s = min(2 * self._rest_s, self._settings.rest_max_s)
        self._round_at = now + self._rest_s * self._jitter()

    def _succeeded(self, key: str, *, probe: bool) -> None:
        with self._lock:
            self._probing -= probe
            self._evidence.succeeded(key, self._monotonic())
            if self.state == CLOSED:
                return
            self._successes += 1
            if self._successes >= self._settings.successes:
                self._move(CLOSED)
                return
            for probes in (self._fresh_probes, self._other_probes):
                probes.grow(self._settings.probes_max)

    def _failed(self, key: str, began_s: float, *, fresh: bool, probe: bool) -> None:
        with self._lock:
            self._probing -= probe
            self._evidence.failed(key, began_s, fresh=fresh)
            if self.state == CLOSED:
                if self._evidence.is_outage(self._monotonic()):
                    self._open()
            elif not (self._probing or self._fresh_probes.left or self._successes):
                self._move(OPEN)

    def _neutral(self, probes: _Probes | None) -> None:
        with self._lock:
            if probes is not None:  # it showed nothing: another call may probe instead
                self._probing -= 1
                probes.left += 1

    def _open(self) -> None:
        self._move(OPEN)
        self._fresh_probes, self._other_probes = _Probes(), _Probes()
        self._successes = 0
        self._rest_s = self._settings.rest_s
        self._round_at = self._monotonic() + self._rest_s * self._jitter()
