"""What operators do with payments: list what is unknown or owed, and resolve it.

What an operator says is checked with the provider and then recorded like an answer of the charge loop.
"""

from typing import NamedTuple

import structlog

from holdfast.messaging.ids import uuid7_after
from holdfast.messaging.store import OperatorAction, Store
from holdfast.runtime.problems import NOT_FOUND, Problem, ProblemType, unavailable
from holdfast.services.payment_gateway.charging import KEY_LIFETIME_MS, ChargeLoop, PaymentProvider
from holdfast.services.payment_gateway.domain import (
    STORED,
    Declined,
    NotSent,
    ProviderCall,
    ProviderRequest,
    ProviderResult,
    Succeeded,
    Unknown,
    is_silence,
)
from holdfast.services.payment_gateway.handlers import PaymentRow, PaymentTransaction

log = structlog.get_logger(__name__)

FIRST = "00000000-0000-0000-0000-000000000000"

NOT_OPEN = ProblemType("payment_not_open", 409, "There is nothing to resolve like that")
CALL_UNDER_WAY = ProblemType("payment_call_under_way", 409, "A call to the provider may be under way")
KEY_USABLE = ProblemType("payment_key_usable", 409, "A call under the key could still charge")
PROVIDER_DISAGREES = ProblemType("provider_disagrees", 409, "The provider does not say so")

_VERB = {"charged": "do", "not_charged": "do", "refunded": "undo"}


class Verdict(NamedTuple):
    """What an operator says happened to a payment; `outcome` is charged, not_charged or refunded."""

    outcome: str
    operator: str
    reason: str
    charge_id: str = ""


class PaymentOperator:
    """Reads and resolves payments. It blocks on database and provider, so do not call it in an event loop."""

    def __init__(
        self, store: Store[PaymentTransaction], charges: ChargeLoop, provider: PaymentProvider
    ) -> None:
        self._store = store
        self._charges = charges
        self._provider = provider

    def page(self, after: str, limit: int, which: str = "") -> tuple[list[PaymentRow], int]:
        """Return payments after this saga id, and the database's time. `which`: all, `unknown`, `owed`."""
        with self._store.transaction() as tx:
            return tx.payment_page(uuid7_after(after) if after else FIRST, limit, which), tx.now_ms()

    def show(self, saga_id: str) -> tuple[PaymentRow, int]:
        """Return one payment, and the database's time. Raises Problem."""
        with self._store.transaction() as tx:
            return _row(tx, saga_id), tx.now_ms()

    def hint(self, saga_id: str) -> bool:
        """Make a waiting call to the provider due now, unless it is under way; tell whether there was one."""
        with self._store.transaction() as tx:
            return tx.hint_calls([saga_id]) > 0

    def resolve(self, saga_id: str, verdict: Verdict) -> PaymentRow:
        """Check the verdict, then record it with its events and the operator's name. Raises Problem."""
        row, now_ms = self.show(saga_id)
        check(row, verdict.outcome, now_ms)
        call = ProviderCall(_request(verdict), row.payment, row.attempts, row.since_ms)
        shown = call.payment._replace(charge_id=verdict.charge_id or call.payment.charge_id)
        [found] = self._provider.call([call._replace(payment=shown)])
        answer = judge(verdict.outcome, found)

        def check_again(tx: PaymentTransaction) -> None:
            tx.lock_fences("payment", [saga_id])
            check(_row(tx, saga_id), verdict.outcome, tx.now_ms())
            action = f"payment.resolve.{verdict.outcome}"
            tx.record_actions([OperatorAction(verdict.operator, action, saga_id, verdict.reason)])

        self._charges.record([(call, answer)], check_again)
        log.info("payment_resolved", saga_id=saga_id, outcome=verdict.outcome, operator=verdict.operator)
        return self.show(saga_id)[0]


def check(row: PaymentRow, outcome: str, now_ms: int) -> None:
    """Raise Problem if an operator may not give this payment this outcome now."""
    if row.verb != _VERB[outcome]:
        raise Problem(NOT_OPEN, f"the payment is {row.state}")
    if row.under_way_until_ms > now_ms:
        seconds = (row.under_way_until_ms - now_ms + 999) // 1000
        raise Problem(CALL_UNDER_WAY, f"its answer may come within {seconds} s")
    if outcome != "not_charged" or row.payment.last_error.startswith(STORED):
        return  # the provider stored a failure: every call under this key gets it again
    usable_ms = KEY_LIFETIME_MS - (now_ms - row.since_ms) if row.attempts else KEY_LIFETIME_MS
    if usable_ms > 0:
        raise Problem(KEY_USABLE, f"the key is used for another {usable_ms // 60_000} minutes, by itself")


def judge(outcome: str, found: ProviderResult) -> ProviderResult:
    """Return the answer to record, or raise Problem if the provider disagrees with the operator."""
    if is_silence(found):
        raise unavailable("the payment provider")
    match found:
        case Unknown("not_found") if outcome == "not_charged":
            return Declined("not_charged", "an operator found no charge at the provider")
        case Declined() if outcome == "not_charged":
            return found
        case Succeeded() if outcome != "not_charged":
            return found
        case Succeeded(reference):
            raise Problem(PROVIDER_DISAGREES, f"the provider has the charge {reference}")
        case Unknown(error):
            raise Problem(PROVIDER_DISAGREES, f"the provider says: {error}")
        case Declined(code):
            raise Problem(PROVIDER_DISAGREES, f"the provider says: {code}")
        case NotSent():
            raise unavailable("the payment provider")


def _request(verdict: Verdict) -> ProviderRequest:
    if verdict.outcome == "refunded":
        return ProviderRequest.FIND_REFUND
    return ProviderRequest.SHOW_CHARGE if verdict.charge_id else ProviderRequest.FIND_CHARGE


def _row(tx: PaymentTransaction, saga_id: str) -> PaymentRow:
    rows = tx.payment_page(saga_id, 1)
    if not rows or rows[0].payment.saga_id != saga_id:
        raise Problem(NOT_FOUND)
    return rows[0]
