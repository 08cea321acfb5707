"""The charge loop as it runs in production: it keeps many calls under way and never waits for the slowest.

New calls are claimed as old ones end, and answers are recorded in batches as they come (`charging` has the
steps). Failing calls do not delay others: each lane (`call_lanes`) has its own places, each verb a breaker.
"""

import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog

from holdfast.messaging.keyed_breaker import KeyedBreaker
from holdfast.messaging.store import StoreUnavailable
from holdfast.services.payment_gateway.call_lanes import (
    CALLS_MAX,
    HELD_MAX_S,
    LANES,
    ClaimLimit,
    Lane,
    UnderWay,
    lane_of,
    room,
)
from holdfast.services.payment_gateway.charging import ChargeLoop, after_calls, before_calls
from holdfast.services.payment_gateway.domain import ProviderCall, ProviderResult, Unknown

IDLE_S = 0.25
LINGER_S = 0.008  # the first answer of a batch waits this long for others
TROUBLE_S = 1.0
DRAIN_S = 5.0

log = structlog.get_logger(__name__)

Ended = Callable[[ProviderCall, ProviderResult], None]


class Caller(Protocol):
    """A provider that answers later, by a callback."""

    breaker: KeyedBreaker
    refund_breaker: KeyedBreaker

    def begin(self, calls: Sequence[ProviderCall], ended: Ended) -> None:
        """Begin all calls and return. `ended` is called for each answer, in any order, from any thread."""


class ContinuousCharges:
    """Runs the charge loop in one thread; while a breaker is open, only its probes are claimed and counted.

    A round waits at most `idle_s` for the first answer and then `linger_s` for more; 0 means no wait.
    """

    def __init__(
        self,
        loop: ChargeLoop,
        caller: Caller,
        calls_max: int = CALLS_MAX,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        idle_s: float = IDLE_S,
        linger_s: float = LINGER_S,
    ) -> None:
        self._loop = loop
        self._caller = caller
        self._calls_max = calls_max
        self._monotonic = monotonic
        self._idle_s = idle_s
        self._linger_s = linger_s
        self._answers: SimpleQueue[tuple[ProviderCall, ProviderResult] | None] = SimpleQueue()
        self._under_way: dict[str, UnderWay] = {}
        self._unrecorded: list[tuple[ProviderCall, ProviderResult]] = []
        self._quiet_until = 0.0

    def wake(self) -> None:
        """End the wait of a round, because there may be new intents. Safe from any thread."""
        self._answers.put(None)

    def under_way(self) -> int:
        """Return how many calls are begun and not yet recorded."""
        return len(self._under_way)

    def has_answers(self) -> bool:
        """Tell whether an answer is to be recorded or `wake` was called."""
        return bool(self._unrecorded) or not self._answers.empty()

    def run_once(self) -> float:
        """Record answers, begin new calls, wait for an answer or a wake; return how many seconds to rest."""
        try:
            self._record()
            self._refill()
            self._collect(self._idle_s)
        except StoreUnavailable as error:
            log.warning("charges_failed", error=str(error), unrecorded=len(self._unrecorded))
            return TROUBLE_S
        return 0.0

    def drain(self) -> None:
        """Record what ends within `DRAIN_S`, and the rest as unknown: another process calls again."""
        deadline = self._monotonic() + DRAIN_S
        while len(self._under_way) > len(self._unrecorded):
            self._collect(max(0.0, deadline - self._monotonic()))
            if self._monotonic() >= deadline:
                break
        answered = {call.idempotency_key for call, _ in self._unrecorded}
        unanswered = [each.call for key, each in self._under_way.items() if key not in answered]
        self._unrecorded += [(call, Unknown("stopped")) for call in unanswered]
        try:
            self._record()
        except StoreUnavailable as error:  # when the leases end, the calls are made again with the same keys
            log.warning("charges_not_recorded", error=str(error), unrecorded=len(self._unrecorded))

    def _refill(self) -> None:
        if self._monotonic() < self._quiet_until:
            return
        first = [lane for lane in LANES if lane.fresh or not self._breaker(lane).is_open()]
        unused = self._begin(first)
        # Calls that failed before are used as probes only if there are not enough fresh calls.
        self._begin([lane for lane in LANES if lane not in first and unused.get(lane.verb)])

    def _begin(self, lanes: Sequence[Lane]) -> dict[str, int]:
        """Begin due calls of these lanes; return for each verb how many more fresh calls could have begun."""
        limits = [limit for limit in map(self._limit, lanes) if limit.calls_max]
        unused = {each.verb: each.calls_max for each in limits if each.fresh}
        calls = self._loop.claim(limits) if limits else []
        began_s = self._monotonic()
        self._under_way |= {call.idempotency_key: UnderWay(call, began_s) for call in calls}
        for lane in map(lane_of, calls):
            if lane.fresh:
                unused[lane.verb] -= 1
        if calls:
            before_calls(calls)
            self._caller.begin(calls, self._ended)
        return unused

    def _limit(self, lane: Lane) -> ClaimLimit:
        """Return how many calls of this lane may begin now.

        While its breaker is open the newest come first: they have not waited among calls that fail.
        """
        breaker = self._breaker(lane)
        free = room(lane, self._under_way.values(), self._monotonic(), self._calls_max)
        newest_first = lane.fresh and breaker.is_open()
        return ClaimLimit(*lane, breaker.admits(free, fresh=lane.fresh), newest_first)

    def _breaker(self, lane: Lane) -> KeyedBreaker:
        return self._caller.breaker if lane.verb == "do" else self._caller.refund_breaker

    def _ended(self, call: ProviderCall, answer: ProviderResult) -> None:
        self._answers.put((call, answer))

    def _collect(self, timeout_s: float) -> None:
        """Wait for the first answer or wake, then `linger_s` for more, and take them all."""
        waiting_s = timeout_s
        until = 0.0
        while waiting_s >= 0 and len(self._unrecorded) < self._calls_max:
            try:
                ended = self._answers.get(timeout=waiting_s)
            except Empty:
                return
            if ended is not None:
                self._unrecorded.append(ended)
                self._heed(*ended)
            if len(self._unrecorded) >= len(self._under_way):
                return
            until = until or self._monotonic() + self._linger_s
            waiting_s = until - self._monotonic()

    def _heed(self, call: ProviderCall, answer: ProviderResult) -> None:
        """Begin no calls after "too many requests": as long as the provider says, at most `HELD_MAX_S`.

        Only a first attempt counts. A repeated one may get this answer for its key alone, which waits anyway.
        """
        if isinstance(answer, Unknown) and answer.error == "http_429" and call.is_first:
            quiet_s = min(answer.retry_after_ms / 1000, HELD_MAX_S)
            self._quiet_until = max(self._quiet_until, self._monotonic() + quiet_s)

    def _record(self) -> None:
        if not self._unrecorded:
            return
        after_calls([call for call, _ in self._unrecorded])
        self._loop.record(self._unrecorded)
        for call, _ in self._unrecorded:
            self._under_way.pop(call.idempotency_key, None)
        self._unrecorded = []
