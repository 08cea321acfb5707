"""payment-gateway's part in the saga: the commands of `checkout.payment-command`.

Only intents are recorded here; the provider is called by `charging`, outside any transaction.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.contracts.messages import Payload, ProcessPayment
from holdfast.messaging.participant import Outcome, Running, StepMessages, Work
from holdfast.messaging.store import TimerKey, TimerRow, Transaction
from holdfast.messaging.timers import RESOLVE
from holdfast.services.payment_gateway.domain import Payment

MESSAGES = StepMessages(
    step="payment",
    do="ProcessPayment",
    done="PaymentProcessed",
    failed="PaymentFailed",
    undo="CompensatePayment",
    undone="PaymentCompensated",
    confirm="ConfirmPayment",
)


class PaymentTransaction(Transaction, Protocol):
    """The kernel's transaction and payment-gateway's own table."""

    def insert_payments(self, rows: Collection[Payment]) -> None:
        """Write new intents; a second one of the same saga is an error."""

    def load_payments(self, saga_ids: Collection[str]) -> dict[str, Payment]:
        """Return the payments of these sagas; their fence rows are locked by the caller."""

    def update_payments(self, rows: Collection[Payment]) -> None:
        """Write what the provider has answered."""

    def peek_due_calls(self, limit: int, horizon_ms: int) -> list[TimerRow]:
        """Return due `resolve` timers without locking them; due further ahead than `horizon_ms` is due."""


@dataclass
class Intents:
    """What a batch asks for: charges and refunds to come, and intents taken back."""

    charges: dict[str, Payment] = field(default_factory=dict)
    refunds: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)


class PaymentParticipant:
    """Records the intent to charge on do and to refund on undo."""

    messages = MESSAGES

    def load(self, tx: PaymentTransaction, work: Sequence[Work]) -> Intents:
        """Read nothing: the fence row, already locked, says all that recording an intent needs."""
        return Intents()

    def do(self, rows: Intents, saga_id: str, command: Payload) -> Outcome:
        assert isinstance(command, ProcessPayment)
        rows.charges[saga_id] = Payment(
            saga_id, command.user_id, command.payment_method, command.amount_minor, command.currency
        )
        return Running()

    def undo(self, rows: Intents, saga_id: str) -> bool:
        rows.refunds.add(saga_id)
        return False

    def confirm(self, rows: Intents, saga_id: str) -> None:
        """Close the charge to undoing: the fence row says so. The place where a later capture belongs."""

    def forget(self, rows: Intents, saga_id: str) -> None:
        rows.forgotten.add(saga_id)

    def save(self, tx: PaymentTransaction, rows: Intents) -> None:
        if rows.charges:
            tx.insert_payments(list(rows.charges.values()))
        now_ms = tx.now_ms()
        due = [resolve_timer(s, "do", now_ms) for s in rows.charges if s not in rows.forgotten]
        due += [resolve_timer(s, "undo", now_ms) for s in sorted(rows.refunds)]
        tx.set_timers(due)
        tx.clear_timers([TimerKey(s, "payment", "do") for s in sorted(rows.forgotten)])


def resolve_timer(saga_id: str, verb: str, due_ms: int) -> TimerRow:
    """Make the row that tells the charge loop to call the provider."""
    return TimerRow(TimerKey(saga_id, "payment", verb), RESOLVE, 0, due_ms, due_ms)
