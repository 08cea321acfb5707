"""The charge loop as it runs for real: always full, never waiting for its slowest call.

Claims refill as calls end, answers are recorded in batches as they come; what a claim is: `charging`.
"""

import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog

from holdfast.messaging.breaker import Breaker
from holdfast.messaging.store import StoreUnavailable
from holdfast.services.payment_gateway.charging import CALLS_MAX, ChargeLoop, after_calls, before_calls
from holdfast.services.payment_gateway.domain import RETRY_AFTER_MAX_MS, Answer, Call, Unknown

IDLE_S = 0.25
LINGER_S = 0.008  # so long the first answer of a batch waits for others
TROUBLE_S = 1.0
DRAIN_S = 5.0

log = structlog.get_logger(__name__)

Ended = Callable[[Call, Answer], None]


class Caller(Protocol):
    """A provider whose calls can be under way."""

    breaker: Breaker

    def begin(self, calls: Sequence[Call], ended: Ended) -> None:
        """Begin all calls and return; `ended` gets each answer, in any order, from any thread."""


class ContinuousCharges:
    """One thread's work. An open breaker claims nothing, so that rows wait and no attempt is spent.

    A round waits `idle_s` for an answer at most, and `linger_s` for more of them; 0 is not at all.
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
        self._answers: SimpleQueue[tuple[Call, Answer] | None] = SimpleQueue()
        self._under_way: dict[str, Call] = {}
        self._unrecorded: list[tuple[Call, Answer]] = []
        self._quiet_until = 0.0

    def wake(self) -> None:
        """End a wait: there may be new intents. Safe from any thread."""
        self._answers.put(None)

    def under_way(self) -> int:
        """Return how many calls are begun and not recorded."""
        return len(self._under_way)

    def has_answers(self) -> bool:
        """Tell whether there is something to record, or somebody has called `wake`."""
        return bool(self._unrecorded) or not self._answers.empty()

    def round(self) -> float:
        """Record what has ended, fill up, wait for an answer or a wake; return how long to rest."""
        try:
            self._record()
            self._refill()
            self._collect(self._idle_s)
        except StoreUnavailable as error:
            log.warning("charges_failed", error=str(error), unrecorded=len(self._unrecorded))
            return TROUBLE_S
        return 0.0

    def drain(self) -> None:
        """Record what still ends within `DRAIN_S`; the rest is unknown, and another process asks again."""
        deadline = self._monotonic() + DRAIN_S
        while len(self._under_way) > len(self._unrecorded):
            self._collect(max(0.0, deadline - self._monotonic()))
            if self._monotonic() >= deadline:
                break
        answered = {call.idempotency_key for call, _ in self._unrecorded}
        given_up = [call for key, call in self._under_way.items() if key not in answered]
        self._unrecorded += [(call, Unknown("stopped")) for call in given_up]
        try:
            self._record()
        except StoreUnavailable as error:  # the leases run out, and the same keys are asked again
            log.warning("charges_not_recorded", error=str(error), unrecorded=len(self._unrecorded))

    def _refill(self) -> None:
        room = self._calls_max - len(self._under_way)
        room = 0 if self._monotonic() < self._quiet_until else self._caller.breaker.admits(room)
        if room <= 0:
            return
        calls = self._loop.claim(room)
        self._under_way |= {call.idempotency_key: call for call in calls}
        if calls:
            before_calls(calls)
            self._caller.begin(calls, self._ended)

    def _ended(self, call: Call, answer: Answer) -> None:
        self._answers.put((call, answer))

    def _collect(self, timeout_s: float) -> None:
        """Wait for the first answer or wake, then a moment for more; take them all."""
        waiting_s = timeout_s
        until = 0.0
        while waiting_s >= 0 and len(self._unrecorded) < self._calls_max:
            try:
                ended = self._answers.get(timeout=waiting_s)
            except Empty:
                return
            if ended is not None:
                self._unrecorded.append(ended)
                self._heed(ended[1])
            if len(self._unrecorded) >= len(self._under_way):
                return
            until = until or self._monotonic() + self._linger_s
            waiting_s = until - self._monotonic()

    def _heed(self, answer: Answer) -> None:
        """Leave a provider alone that says it has too many requests, for as long as it says."""
        if isinstance(answer, Unknown) and answer.error == "http_429":
            quiet_s = min(answer.retry_after_ms, RETRY_AFTER_MAX_MS) / 1000
            self._quiet_until = max(self._quiet_until, self._monotonic() + quiet_s)

    def _record(self) -> None:
        if not self._unrecorded:
            return
        after_calls([call for call, _ in self._unrecorded])
        self._loop.record(self._unrecorded)
        for call, _ in self._unrecorded:
            self._under_way.pop(call.idempotency_key, None)
        self._unrecorded = []
