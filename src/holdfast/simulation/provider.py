"""The payment provider of the simulation: its own ledger, idempotent by key, failing when told to.

It knows nothing of the services but the shape of a call; its ledger decides what was charged.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple
from zlib import crc32

from holdfast.messaging.producer import BreakerOpen
from holdfast.runtime.http_client import ConnectionFailed
from holdfast.services.payment_gateway.continuous import Ended
from holdfast.services.payment_gateway.domain import (
    Declined,
    NotSent,
    ProviderCall,
    ProviderRequest,
    ProviderResult,
    Succeeded,
    Unknown,
)
from holdfast.services.payment_gateway.stripe_provider import provider_breaker
from holdfast.simulation.faults import IN_PROVIDER, Switch

VISA = "pm_card_visa"
MASTERCARD = "pm_card_mastercard"
HANGS_S = 10.0
"""How long a caller waits for an answer that never comes."""


class Entry(NamedTuple):
    """One line of the ledger; `saga_id` is what the caller wrote into the metadata."""

    reference: str
    kind: str  # charge or refund
    key: str
    saga_id: str
    amount_minor: int
    currency: str
    ok: bool


class Memory(NamedTuple):
    """All that a provider remembers, as a value; equal if the same calls came in another order."""

    ledger: tuple[Entry, ...] = ()
    late: tuple[ProviderCall, ...] = ()
    answers: tuple[tuple[str, ProviderResult], ...] = ()


class Outage(NamedTuple):
    """Fails all charges of one card, or charges and refunds of a fixed share of all keys."""

    card: str = ""
    share: float = 0.0
    hangs: bool = False

    def strikes(self, call: ProviderCall) -> bool:
        """Tell whether this call fails."""
        if call.ask is ProviderRequest.CHARGE and self.card:
            return call.payment.payment_method == self.card
        of_key = crc32(call.idempotency_key.encode()) / 2**32
        return call.ask in (ProviderRequest.CHARGE, ProviderRequest.REFUND) and of_key < self.share


OUTAGES = {
    "over": None,
    "mastercard_fails": Outage(MASTERCARD),
    "mastercard_hangs": Outage(MASTERCARD, hangs=True),
    "some_fail": Outage(share=0.3),
    "most_hang": Outage(share=0.6, hangs=True),
    "all_fail": Outage(share=1.0),
}


class SimProvider:
    """A `PaymentProvider` whose answers may come late or never; `land` lets a call in `late` take effect.

    `outage` says which calls fail until it is over; `latency_s` is how long an answer takes (`SimCaller`).
    """

    def __init__(self, faults: Switch, memory: Memory | None = None) -> None:
        began = memory or Memory()
        self.ledger: list[Entry] = list(began.ledger)
        self.late: list[ProviderCall] = list(began.late)
        self.adopted = 0  # ends that were found by a look-up
        self.outage: Outage | None = None
        self.latency_s = 0.0
        self._answers: dict[str, ProviderResult] = dict(began.answers)
        self._faults = faults

    def memory(self) -> Memory:
        """Return all that it remembers."""
        answers = sorted(self._answers.items(), key=lambda item: item[0])
        return Memory(tuple(sorted(self.ledger)), tuple(sorted(self.late, key=repr)), tuple(answers))

    def call(self, calls: Sequence[ProviderCall]) -> list[ProviderResult]:
        return [self.ask(call, fault) for call, fault in zip(calls, self.faults_for(len(calls)), strict=True)]

    def faults_for(self, size: int) -> list[str]:
        """Return for each of `size` calls the armed fault that strikes it, or an empty string."""
        fault, which = self._faults.strikes_one_of(IN_PROVIDER, size)
        return [fault if index == which else "" for index in range(size)]

    def lasts_s(self, call: ProviderCall) -> float:
        """Return how long this call's answer takes."""
        return HANGS_S if self.outage and self.outage.hangs and self.outage.strikes(call) else self.latency_s

    def close(self) -> None:
        """Nothing is open."""

    def land(self, position: int) -> bool:
        """Let a late call, whose caller timed out, take its effect."""
        if not self.late:
            return False
        self._effect(self.late.pop(position % len(self.late)))
        return True

    def ask(self, call: ProviderCall, fault: str) -> ProviderResult:
        """Answer one call, under this fault if one is named."""
        if self.outage and self.outage.strikes(call):
            self._faults.fired["outage"] += 1
            return Unknown("timeout" if self.outage.hangs else "http_500")
        if fault == "late":
            self.late.append(call)
        if fault in ("late", "timeout_before"):
            return Unknown("timeout")
        if fault in ("http_500", "in_flight", "busy"):
            return {"http_500": Unknown("http_500"), "in_flight": Unknown("http_409")}.get(
                fault, Unknown("http_429", retry_after_ms=2_000)
            )
        if call.ask in (ProviderRequest.FIND_CHARGE, ProviderRequest.FIND_REFUND):
            return Unknown("timeout") if fault else self._find(call)
        answer = self._effect(call)
        if fault == "stored_500":
            answer = self._answers[call.idempotency_key] = Unknown("http_500")
        return Unknown("timeout") if fault == "timeout_after" else answer

    def _effect(self, call: ProviderCall) -> ProviderResult:
        """Do what the call asks, once for each key; a known key gets its first answer again."""
        key = call.idempotency_key
        if key not in self._answers:
            self._answers[key] = (
                self._refund(call) if call.ask is ProviderRequest.REFUND else self._charge(call)
            )
        return self._answers[key]

    def _charge(self, call: ProviderCall) -> ProviderResult:
        ok = call.payment.payment_method in (VISA, MASTERCARD)
        reference = self._enter("charge", call, ok=ok)
        return Succeeded(reference) if ok else Declined("generic_decline", "the bank says no")

    def _refund(self, call: ProviderCall) -> ProviderResult:
        charge = next((e for e in self.ledger if e.reference == call.payment.charge_id), None)
        if charge is None or not charge.ok or charge.amount_minor != call.payment.amount_minor:
            return Declined("resource_missing", "there is no such charge")
        if any(e.kind == "refund" and e.saga_id == charge.saga_id for e in self.ledger):
            return Declined("charge_already_refunded", "it was refunded before, under another key")
        return Succeeded(self._enter("refund", call, ok=True))

    def _enter(self, kind: str, call: ProviderCall, *, ok: bool) -> str:
        payment = call.payment
        before = sum(1 for e in self.ledger if e.saga_id == payment.saga_id and e.kind == kind)
        reference = f"{kind}-{payment.saga_id}-{before + 1}"
        self.ledger.append(
            Entry(
                reference,
                kind,
                call.idempotency_key,
                payment.saga_id,
                payment.amount_minor,
                payment.currency,
                ok,
            )
        )
        return reference

    def _find(self, call: ProviderCall) -> ProviderResult:
        kind = "charge" if call.ask is ProviderRequest.FIND_CHARGE else "refund"
        found = [e for e in self.ledger if e.kind == kind and e.saga_id == call.payment.saga_id]
        for entry in sorted(found, key=lambda e: not e.ok):
            self.adopted += 1
            return Succeeded(entry.reference) if entry.ok else Declined("generic_decline", "the bank said no")
        return Unknown("not_found")


class _UnderWay(NamedTuple):
    """A call that its breaker has let through."""

    call: ProviderCall
    ended: Ended
    began_s: float
    guard: AbstractContextManager[None]


class SimCaller:
    """One process's calls under way, behind the breakers of the real provider; `answer` answers them."""

    def __init__(self, provider: SimProvider, monotonic: Callable[[], float]) -> None:
        self.breaker = provider_breaker(monotonic)
        self.refund_breaker = provider_breaker(monotonic, "payment-provider-refunds")
        self.look_up_breaker = provider_breaker(monotonic, "payment-provider-look-ups")
        self._provider = provider
        self._monotonic = monotonic
        self._under_way: list[_UnderWay] = []

    def begin(self, calls: Sequence[ProviderCall], ended: Ended) -> None:
        for call in calls:
            guard = self._guard(call)
            try:
                guard.__enter__()
            except BreakerOpen as error:
                ended(call, NotSent(int(error.retry_after_s * 1000)))
            else:
                self._under_way.append(_UnderWay(call, ended, self._monotonic(), guard))

    def is_idle(self) -> bool:
        """Tell whether no call is under way."""
        return not self._under_way

    def answer(self) -> bool:
        """Answer all calls that have lasted long enough, except a slow one; tell whether there were any."""
        now_s = self._monotonic()
        done: list[_UnderWay] = []
        begun, self._under_way = self._under_way, []
        for each in begun:
            over = now_s >= each.began_s + self._provider.lasts_s(each.call)
            (done if over else self._under_way).append(each)
        for each, fault in zip(done, self._provider.faults_for(len(done)), strict=True):
            if fault == "slow":
                self._under_way.append(each)
            else:
                self._end(each, self._provider.ask(each.call, fault))
        return bool(done)

    def _guard(self, call: ProviderCall) -> AbstractContextManager[None]:
        if call.ask is ProviderRequest.CHARGE:
            return self.breaker.guard(call.idempotency_key, fresh=call.is_first)
        if call.ask is ProviderRequest.REFUND:
            return self.refund_breaker.guard(call.idempotency_key, fresh=call.is_first)
        return self.look_up_breaker.guard(f"{call.payment.saga_id}:{call.ask}")

    def _end(self, each: _UnderWay, answer: ProviderResult) -> None:
        """Hand over the answer; the breaker counts the same answers as with the real provider."""
        error = None
        if isinstance(answer, Unknown) and answer.error in ("timeout", "http_500"):
            error = ConnectionFailed(answer.error)
        each.guard.__exit__(type(error) if error else None, error, None)
        each.ended(each.call, answer)
