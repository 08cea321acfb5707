"""The charge loop claims due calls, makes them outside any transaction, and records the answers.

A crash at any step is safe: a claim expires, a call is repeated under its key, a second record is ignored.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import EmptyPayload, PaymentProcessed, Refused
from holdfast.messaging.batch_processor import BatchProcessor
from holdfast.messaging.crashpoints import crashpoint
from holdfast.messaging.fence import Fence
from holdfast.messaging.handler import HandlerResult, OutboxMessage
from holdfast.messaging.relay import Relay
from holdfast.messaging.store import TimerKey, TimerRow
from holdfast.services.payment_gateway.call_lanes import ClaimLimit, limits
from holdfast.services.payment_gateway.domain import (
    REFUSED_REFUND_WAIT_MS,
    NotSent,
    Payment,
    ProviderCall,
    ProviderResult,
    Resolution,
    Unknown,
    awaits,
    next_ask,
    resolve,
)
from holdfast.services.payment_gateway.handlers import MESSAGES, PaymentTransaction, resolve_timer

LEASE_MS = 60_000
KEY_LIFETIME_MS = 23 * 3_600_000  # Stripe keeps keys for 24 h; an hour of margin
HORIZON_MS = 2 * REFUSED_REFUND_WAIT_MS

log = structlog.get_logger(__name__)

Answered = Sequence[tuple[ProviderCall, ProviderResult]]


class PaymentProvider(Protocol):
    """The company that moves the money."""

    def call(self, calls: Sequence[ProviderCall]) -> list[ProviderResult]:
        """Make all calls at the same time and return their answers in order; a failed call raises nothing."""

    def close(self) -> None:
        """Close connections."""


class ChargeLoop:
    """Charges and refunds. Many instances may run it at once, because a claim is a lease on the timer row."""

    def __init__(
        self,
        processor: BatchProcessor[PaymentTransaction],
        relay: Relay,
        provider: PaymentProvider,
        lease_ms: int = LEASE_MS,
    ) -> None:
        self._processor = processor
        self._relay = relay
        self._provider = provider
        self._lease_ms = lease_ms
        self.alarms: Counter[str] = Counter()
        self.outcomes: Counter[tuple[str, str]] = Counter()

    def run_once(self) -> int:
        """Claim, call and record one batch; return how many calls were made. Raises StoreUnavailable."""
        calls = self.claim()
        if not calls:
            return 0
        before_calls(calls)
        answers = self._provider.call(calls)
        after_calls(calls)
        self.record(list(zip(calls, answers, strict=True)))
        return len(calls)

    def claim(self, claim_limits: Sequence[ClaimLimit] = tuple(limits())) -> list[ProviderCall]:
        """Lease due calls and mark their fences submitted, so that an undo waits for the answer."""
        calls: list[ProviderCall] = []

        def work(tx: PaymentTransaction) -> HandlerResult:
            calls.clear()
            calls.extend(_claim(tx, claim_limits, self._lease_ms))
            if calls:
                crashpoint("claim.before_commit")
            return HandlerResult()

        self._processor.commit(work, at="task")
        if calls:
            crashpoint("claim.after_commit")
        return calls

    def record(
        self, answered: Answered, before: Callable[[PaymentTransaction], None] = lambda _: None
    ) -> int:
        """Write the answers, their events and the next calls' times in one transaction.

        Returns how many were still awaited. `before` runs first in it; if that raises, nothing is recorded.
        """
        recording = _Recording()

        def work(tx: PaymentTransaction) -> HandlerResult:
            nonlocal recording
            before(tx)
            recording = _Recording()
            recording.run(tx, answered)
            return recording.handled

        self._relay.submit(self._processor.commit(work, at="record"))
        for call, answer in answered:
            self.outcomes[call.ask.value, _outcome(answer)] += 1
        for resolution in recording.alarms:
            self.alarms[resolution.alarm] += 1
            log.error(resolution.alarm, saga_id=resolution.fence.saga_id, error=resolution.payment.last_error)
        return recording.counted


def before_calls(calls: Sequence[ProviderCall]) -> None:
    """Pass the crash points before a batch of calls."""
    verbs = {call.verb for call in calls}
    if "do" in verbs:
        crashpoint("charge.before_call")
    if "undo" in verbs:
        crashpoint("refund.before_call")


def after_calls(calls: Sequence[ProviderCall]) -> None:
    """Pass the crash points after the answers of a batch and before their record."""
    verbs = {call.verb for call in calls}
    if "do" in verbs:
        crashpoint("charge.after_call")
    if "undo" in verbs:
        crashpoint("refund.after_call")


def _claim(tx: PaymentTransaction, claim_limits: Sequence[ClaimLimit], lease_ms: int) -> list[ProviderCall]:
    # Fences are locked before timers, as the writer does it, so that the two never deadlock.
    peeked = tx.peek_due_calls(claim_limits, HORIZON_MS)
    ids = sorted({row.key.saga_id for row in peeked})
    if not ids:
        return []
    fences = tx.lock_fences("payment", ids)
    again = [each._replace(calls_max=2 * each.calls_max) for each in claim_limits]
    keys = {row.key for row in peeked}
    due = [row for row in tx.peek_due_calls(again, HORIZON_MS) if row.key in keys]
    payments = tx.load_payments(ids)
    now_ms = tx.now_ms()
    calls, leased, submitted, stale = [], [], [], []
    for row in due:
        fence, payment = fences.get(row.key.saga_id), payments.get(row.key.saga_id)
        if fence is None or payment is None or not awaits(fence, payment, row.key.verb):
            stale.append(row.key)
            continue
        since_ms = row.since_ms if row.fired else now_ms  # the age of a key counts from when it is first sent
        ask = next_ask(payment, row.key.verb, now_ms - since_ms, KEY_LIFETIME_MS)
        calls.append(ProviderCall(ask, payment, row.fired + 1, since_ms))
        until = now_ms + lease_ms
        leased.append(row._replace(since_ms=since_ms, due_ms=until, fired=row.fired + 1, end_offset=until))
        if not fence.submitted:
            submitted.append(fence._replace(submitted=True))
    tx.set_timers(leased)
    tx.clear_timers(stale)
    tx.save_fences("payment", submitted, sorted(set(ids) - fences.keys()))
    return calls


@dataclass
class _Recording:
    """Writes one batch of answers into the rows."""

    handled: HandlerResult = field(default_factory=HandlerResult)
    alarms: list[Resolution] = field(default_factory=list)
    counted: int = 0
    _timers: dict[TimerKey, TimerRow | None] = field(default_factory=dict)

    def run(self, tx: PaymentTransaction, answered: Answered) -> None:
        ids = sorted({call.payment.saga_id for call, _ in answered})
        fences = tx.lock_fences("payment", ids)
        payments = tx.load_payments(ids)
        before, now_ms = dict(fences), tx.now_ms()
        changed: dict[str, Payment] = {}
        for call, answer in answered:
            saga_id = call.payment.saga_id
            fence, payment = fences.get(saga_id), payments.get(saga_id)
            if fence is None or payment is None:
                self._timers[TimerKey(saga_id, "payment", call.verb)] = None
                continue
            resolution = resolve(fence, call._replace(payment=payment), answer)
            if resolution is not None:
                resolution = _with_reply(resolution)
                fences[saga_id] = resolution.fence
                payments[saga_id] = changed[saga_id] = resolution.payment
            self._plan_next(resolution, call, answer, now_ms)
        tx.update_payments(list(changed.values()))
        tx.save_fences("payment", _changed(before, fences), sorted(set(ids) - fences.keys()))
        tx.clear_timers([key for key, row in self._timers.items() if row is None])
        tx.set_timers([row for row in self._timers.values() if row is not None])

    def _plan_next(
        self, resolution: Resolution | None, call: ProviderCall, answer: ProviderResult, now_ms: int
    ) -> None:
        key = TimerKey(call.payment.saga_id, "payment", call.verb)
        self._timers[key] = None
        if resolution is None:
            return
        self.counted += 1
        self.handled.messages_to_seal += _events(resolution)
        if resolution.wait_ms is not None:
            again = resolve_timer(key.saga_id, key.verb, call.since_ms)
            spent = call.attempt - 1 if isinstance(answer, NotSent) else call.attempt
            self._timers[key] = again._replace(due_ms=now_ms + resolution.wait_ms, fired=spent)
        if resolution.refund_now:
            refund = resolve_timer(key.saga_id, "undo", now_ms)
            self._timers[refund.key] = refund
        if resolution.alarm:
            self.alarms.append(resolution)


def _changed(before: dict[str, Fence], after: dict[str, Fence]) -> list[Fence]:
    return [fence for saga_id, fence in after.items() if fence != before[saga_id]]


def _with_reply(resolution: Resolution) -> Resolution:
    """Put the reply to the do-command into the fence row; a repeated command gets its reply from there."""
    payment, fence = resolution.payment, resolution.fence
    if resolution.processed:
        paid = PaymentProcessed(payment.charge_id, payment.amount_minor, payment.currency)
        return resolution._replace(fence=fence._replace(reply_kind=MESSAGES.done, reply=encode(paid)))
    if resolution.failed:
        refused = Refused("payment_declined", f"the card was declined: {payment.decline_code}")
        return resolution._replace(fence=fence._replace(reply_kind=MESSAGES.failed, reply=encode(refused)))
    return resolution


def _events(resolution: Resolution) -> list[OutboxMessage]:
    fence = resolution.fence
    events = []
    if resolution.processed or resolution.failed:
        suffix = "done" if resolution.processed else "failed"
        reply_id = f"{fence.saga_id}:payment:{suffix}"
        events.append(OutboxMessage(reply_id, fence.reply_kind, fence.saga_id, fence.reply))
    if resolution.compensated:
        reply_id = f"{fence.saga_id}:payment:compensated"
        events.append(OutboxMessage(reply_id, MESSAGES.undone, fence.saga_id, encode(EmptyPayload())))
    return events


def _outcome(answer: ProviderResult) -> str:
    return answer.error if isinstance(answer, Unknown) else type(answer).__name__.lower()
