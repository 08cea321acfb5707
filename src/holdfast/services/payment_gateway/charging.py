"""The charge loop: claim due calls, make them outside any transaction, record what is definitive.

Three steps, each safe to lose: a claim expires, a call repeats under its key, a record repeats nothing.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import Nothing, PaymentProcessed, Refused
from holdfast.messaging.crashpoints import crashpoint
from holdfast.messaging.fence import FenceState
from holdfast.messaging.handler import Handled, Reply
from holdfast.messaging.relay import Relay
from holdfast.messaging.store import TimerKey, TimerRow
from holdfast.messaging.unit_of_work import UnitOfWork
from holdfast.services.payment_gateway.domain import (
    REFUSED_REFUND_WAIT_MS,
    Answer,
    Call,
    Resolution,
    next_ask,
    resolve,
)
from holdfast.services.payment_gateway.handlers import MESSAGES, PaymentTransaction, resolve_timer

CALLS_MAX = 64
LEASE_MS = 60_000
KEY_LIFETIME_MS = 23 * 3_600_000  # Stripe keeps keys for 24 h; an hour of margin
HORIZON_MS = 2 * REFUSED_REFUND_WAIT_MS

log = structlog.get_logger(__name__)


class PaymentProvider(Protocol):
    """The outside world's money."""

    def call(self, calls: Sequence[Call]) -> list[Answer]:
        """Make all calls side by side and return their answers in order; never raises for one of them."""

    def close(self) -> None:
        """Close connections."""


class ChargeLoop:
    """Resolves intents. Any number of instances may run; a claim is a lease on the timer row."""

    def __init__(
        self, unit_of_work: UnitOfWork[PaymentTransaction], relay: Relay, provider: PaymentProvider
    ) -> None:
        self._unit_of_work = unit_of_work
        self._relay = relay
        self._provider = provider
        self.alarms: dict[str, int] = {}

    def step(self) -> int:
        """Claim, call, record once; return how many calls were made. Raises StoreUnavailable."""
        calls = self.claim()
        if not calls:
            return 0
        verbs = {call.verb for call in calls}
        if "do" in verbs:
            crashpoint("charge.before_call")
        if "undo" in verbs:
            crashpoint("refund.before_call")
        answers = self._provider.call(calls)
        if "do" in verbs:
            crashpoint("charge.after_call")
        if "undo" in verbs:
            crashpoint("refund.after_call")
        self.record(list(zip(calls, answers, strict=True)))
        return len(calls)

    def claim(self) -> list[Call]:
        """Lease due calls and mark their fences submitted, so that an undo knows it must wait."""
        calls: list[Call] = []

        def work(tx: PaymentTransaction) -> Handled:
            calls.clear()
            calls.extend(self._claim(tx))
            if calls:
                crashpoint("claim.before_commit")
            return Handled()

        self._unit_of_work.commit(work, at="chore")
        if calls:
            crashpoint("claim.after_commit")
        return calls

    def record(self, answered: Sequence[tuple[Call, Answer]]) -> None:
        """Write every answer, its events and the next call's time in one transaction."""

        def work(tx: PaymentTransaction) -> Handled:
            return self._record(tx, answered)

        self._relay.submit(self._unit_of_work.commit(work, at="record"))

    def _claim(self, tx: PaymentTransaction) -> list[Call]:
        # Fences are locked before timers, as the writer does it, so that the two never deadlock.
        peeked = tx.peek_due_calls(CALLS_MAX, HORIZON_MS)
        ids = sorted({row.key.saga_id for row in peeked})
        if not ids:
            return []
        fences = tx.lock_fences("payment", ids)
        wanted = {row.key for row in peeked}
        due = [row for row in tx.peek_due_calls(CALLS_MAX * 2, HORIZON_MS) if row.key in wanted]
        payments = tx.load_payments(ids)
        now_ms = tx.now_ms()
        calls, leased, submitted, stale = [], [], [], []
        for row in due:
            fence, payment = fences.get(row.key.saga_id), payments.get(row.key.saga_id)
            awaited = FenceState.RUNNING if row.key.verb == "do" else FenceState.UNDOING
            if fence is None or payment is None or fence.state is not awaited:
                stale.append(row.key)
                continue
            since_ms = row.since_ms if row.fired else now_ms  # a key has no age before it is first sent
            ask = next_ask(payment, row.key.verb, now_ms - since_ms, KEY_LIFETIME_MS)
            calls.append(Call(ask, payment, row.fired + 1, since_ms))
            leased.append(row._replace(since_ms=since_ms, due_ms=now_ms + LEASE_MS, fired=row.fired + 1))
            if not fence.submitted:
                submitted.append(fence._replace(submitted=True))
        tx.set_timers(leased)
        tx.clear_timers(stale)
        tx.save_fences("payment", submitted, sorted(set(ids) - fences.keys()))
        return calls

    def _record(self, tx: PaymentTransaction, answered: Sequence[tuple[Call, Answer]]) -> Handled:
        handled = Handled()
        ids = sorted({call.payment.saga_id for call, _ in answered})
        fences = tx.lock_fences("payment", ids)
        payments = tx.load_payments(ids)
        now_ms = tx.now_ms()
        changed: list[Resolution] = []
        timers: list[TimerRow] = []
        cleared: list[TimerKey] = []
        for call, answer in answered:
            saga_id = call.payment.saga_id
            key = TimerKey(saga_id, "payment", call.verb)
            resolution = resolve(fences[saga_id], call._replace(payment=payments[saga_id]), answer)
            if resolution is None:
                cleared.append(key)
                continue
            resolution = _with_reply(resolution)
            changed.append(resolution)
            handled.replies += _events(resolution)
            if resolution.wait_ms is None:
                cleared.append(key)
            else:
                again = resolve_timer(saga_id, call.verb, call.since_ms)
                timers.append(again._replace(due_ms=now_ms + resolution.wait_ms, fired=call.attempt))
            if resolution.refund_now:
                timers.append(resolve_timer(saga_id, "undo", now_ms))
            self._alarm(resolution)
        tx.update_payments([r.payment for r in changed])
        tx.save_fences("payment", [r.fence for r in changed if r.fence != fences[r.fence.saga_id]], ())
        tx.clear_timers(cleared)
        tx.set_timers(timers)
        return handled

    def _alarm(self, resolution: Resolution) -> None:
        if resolution.alarm:
            self.alarms[resolution.alarm] = self.alarms.get(resolution.alarm, 0) + 1
            log.error(resolution.alarm, saga_id=resolution.fence.saga_id, error=resolution.payment.last_error)


def _with_reply(resolution: Resolution) -> Resolution:
    """Keep the answer to the do-command in the fence row, from which every repeat is answered."""
    payment, fence = resolution.payment, resolution.fence
    if resolution.processed:
        paid = PaymentProcessed(payment.charge_id, payment.amount_minor, payment.currency)
        return resolution._replace(fence=fence._replace(reply_kind=MESSAGES.done, reply=encode(paid)))
    if resolution.failed:
        refused = Refused("payment_declined", f"the card was declined: {payment.decline_code}")
        return resolution._replace(fence=fence._replace(reply_kind=MESSAGES.failed, reply=encode(refused)))
    return resolution


def _events(resolution: Resolution) -> list[Reply]:
    fence = resolution.fence
    events = []
    if resolution.processed or resolution.failed:
        suffix = "done" if resolution.processed else "failed"
        reply_id = f"{fence.saga_id}:payment:{suffix}"
        events.append(Reply(reply_id, fence.reply_kind, fence.saga_id, fence.reply))
    if resolution.compensated:
        reply_id = f"{fence.saga_id}:payment:compensated"
        events.append(Reply(reply_id, MESSAGES.undone, fence.saga_id, encode(Nothing())))
    return events
