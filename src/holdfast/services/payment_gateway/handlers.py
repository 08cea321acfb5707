"""payment-gateway's step of the saga: the commands of `checkout.payment-command`.

The handler only records intents; `charging` calls the provider, outside any transaction.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from holdfast.contracts.messages import Payload, ProcessPayment
from holdfast.contracts.steps import PAYMENT_STEP
from holdfast.messaging.fence import Fence, Verb
from holdfast.messaging.participant import CommandWork, Running, StepResult
from holdfast.messaging.store import TimerKey, TimerRow, Transaction
from holdfast.messaging.timers import RESOLVE
from holdfast.services.payment_gateway.call_lanes import ClaimLimit
from holdfast.services.payment_gateway.domain import Payment

MESSAGES = PAYMENT_STEP.messages

UNKNOWN_AFTER_MS = 60_000


class PaymentRow(NamedTuple):
    """A payment and its state; `verb` and the fields after it describe its open call, empty if there is none.

    `under_way_until_ms` is when the lease of the call ends that may be under way.
    """

    payment: Payment
    state: str
    submitted: bool = False
    undo_requested: bool = False
    verb: str = ""
    since_ms: int = 0
    due_ms: int = 0
    attempts: int = 0
    under_way_until_ms: int = 0

    def is_unknown(self, now_ms: int) -> bool:
        """Tell whether a charge was submitted, and its outcome is not known."""
        silent = self.since_ms < now_ms - UNKNOWN_AFTER_MS
        return self.verb == "do" and self.submitted and (self.payment.last_error != "" or silent)

    def is_owed(self) -> bool:
        """Tell whether the shopper is owed money that the provider holds."""
        return self.verb == "undo"


class OpenMoney(NamedTuple):
    """A sum over open payments of one currency; `which` is unknown or owed."""

    which: str
    currency: str
    payments: int
    amount_minor: int
    since_ms: int


class PaymentTransaction(Transaction, Protocol):
    """The kernel's transaction and payment-gateway's own table."""

    def insert_payments(self, rows: Collection[Payment]) -> None:
        """Write new intents; a second one of the same saga is an error."""

    def load_payments(self, saga_ids: Collection[str]) -> dict[str, Payment]:
        """Return the payments of these sagas; a caller that changes them locks their fence rows first."""

    def update_payments(self, rows: Collection[Payment]) -> None:
        """Write what the provider has answered."""

    def payment_page(self, from_id: str, limit: int, which: str = "") -> list[PaymentRow]:
        """Return payments from `from_id` on, smallest first; `which` is all, `unknown` or `owed`."""

    def open_money(self) -> list[OpenMoney]:
        """Sum up what is unknown and what is owed."""

    def hint_calls(self, saga_ids: Collection[str]) -> int:
        """Make waiting calls due now, except those under way; return how many there were."""

    def peek_due_calls(self, limits: Sequence[ClaimLimit], horizon_ms: int) -> list[TimerRow]:
        """Return due `resolve` timers, lane by lane, without locking them.

        The least tried come first, so that failing calls delay no others; later than `horizon_ms` is due too.
        """


@dataclass
class Intents:
    """What a batch asks for: charges and refunds to make, and intents to take back.

    `recorded` holds the payments that repeated commands are compared with.
    """

    recorded: dict[str, Payment] = field(default_factory=dict)
    charges: dict[str, Payment] = field(default_factory=dict)
    refunds: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)


class PaymentParticipant:
    """Records an intent to charge on do, and to refund on undo."""

    messages = MESSAGES

    def load(self, tx: PaymentTransaction, work: Sequence[CommandWork]) -> Intents:
        """Read the payments of repeated commands only: a new intent needs nothing but the fence."""
        repeated = {w.envelope.saga_id for w in work if w.verb is Verb.DO and w.fence is not None}
        return Intents(tx.load_payments(repeated) if repeated else {})

    def do(self, rows: Intents, saga_id: str, command: Payload) -> StepResult:
        assert isinstance(command, ProcessPayment)
        rows.charges[saga_id] = _intent(saga_id, command)
        return Running()

    def agrees(self, rows: Intents, command: Payload, fence: Fence) -> bool:
        assert isinstance(command, ProcessPayment)
        recorded = rows.charges.get(fence.saga_id) or rows.recorded.get(fence.saga_id)
        return recorded is None or recorded.asked == _intent(fence.saga_id, command).asked

    def undo(self, rows: Intents, saga_id: str) -> bool:
        rows.refunds.add(saga_id)
        return False

    def confirm(self, rows: Intents, saga_id: str) -> None:
        """Do nothing: the fence row already says that the charge is final. A later capture belongs here."""

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


def _intent(saga_id: str, command: ProcessPayment) -> Payment:
    return Payment(saga_id, command.user_id, command.payment_method, command.amount_minor, command.currency)


def resolve_timer(saga_id: str, verb: str, due_ms: int) -> TimerRow:
    """Make the timer row by which the charge loop calls the provider.

    Its `end_offset` is 0, or, while a call may be under way, the time at which the call's lease ends.
    """
    return TimerRow(TimerKey(saga_id, "payment", verb), RESOLVE, 0, due_ms, due_ms)
