"""The settlement compares the provider's list of charges with our payments, so that no money is forgotten.

A charge of a closed payment is refunded; a charge that fits none of our payments raises an alarm.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

import structlog

from holdfast.messaging.batch_processor import BatchProcessor
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.store import StoreUnavailable
from holdfast.services.payment_gateway.charging import ChargeLoop
from holdfast.services.payment_gateway.domain import (
    REFUND_FAILED,
    REFUSED_REFUND_WAIT_MS,
    Declined,
    Payment,
    ProviderCall,
    ProviderRequest,
    ProviderResult,
    Succeeded,
    is_silence,
)
from holdfast.services.payment_gateway.handlers import PaymentTransaction, resolve_timer

OVERLAP_MS = 3_600_000
DEEP_BACK_MS = 31 * 24 * 3_600_000  # a bank may return a refund for about a month
DEEP_EVERY_MS = 24 * 3_600_000
PAGE_PAUSE_S = 0.2
IDLE_S = 1.0

log = structlog.get_logger(__name__)


class ProviderSilent(Exception):
    """The provider did not answer; the text says why."""


class ListedCharge(NamedTuple):
    """One charge of the provider's list. Our `Payment.charge_id` holds its `reference`."""

    id: str
    reference: str
    saga_id: str
    amount_minor: int
    currency: str
    succeeded: bool
    refunded: bool
    created_ms: int


class ChargeLister(Protocol):
    """A provider that lists its charges."""

    def call(self, calls: Sequence[ProviderCall]) -> list[ProviderResult]:
        """See `charging.PaymentProvider`."""

    def charges(self, after: str = "", intent: str = "") -> list[ListedCharge]:
        """Return a page, newest first: charges before `after`, or of one intent. Raises ProviderSilent."""


def judge(charge: ListedCharge, payment: Payment | None) -> str:
    """Return what is wrong with a charge that succeeded: orphan, unknown, second, owed, or empty."""
    if charge.refunded:
        return ""
    ours = payment is not None and (payment.amount_minor, payment.currency)
    if payment is None or ours != (charge.amount_minor, charge.currency):
        return "orphan"
    if not payment.charge_id:
        return "unknown"
    if payment.charge_id != charge.reference:
        return "second"
    return "owed" if payment.refund_id else ""


class SettlementPass:
    """The position of one walk over the list: newest first, page by page, once every `every_ms`.

    A pass goes back to `back_ms` before the newest charge. If it `resumes`, it goes back to `back_ms` before
    the charge that was the newest when the last pass began.
    """

    def __init__(self, every_ms: int, back_ms: int, *, resumes: bool) -> None:
        self._every_ms = every_ms
        self._back_ms = back_ms
        self._resumes = resumes
        self._next_pass_ms = 0
        self._newest_ms = 0
        self._back_to_ms: int | None = None
        self.after = ""

    def is_due(self, now_ms: int) -> bool:
        """Tell whether a page is to be read now."""
        return self.after != "" or now_ms >= self._next_pass_ms

    def turn(self, page: Sequence[ListedCharge], now_ms: int) -> None:
        """Move on to the page after this one, or end the pass."""
        if page and not self.after:
            self._newest_ms = page[0].created_ms
        back_to_ms = self._newest_ms - self._back_ms if self._back_to_ms is None else self._back_to_ms
        if page and page[-1].created_ms >= back_to_ms:
            self.after = page[-1].id
            return
        self.after = ""
        self._back_to_ms = self._newest_ms - self._back_ms if self._resumes else None
        self._next_pass_ms = now_ms + self._every_ms


class Settlement:
    """Walks the list, one page a round: the new charges every `every_ms`, and a whole month once a day.

    Only the long walk finds a refund that failed days after it was answered as done.
    """

    def __init__(
        self,
        processor: BatchProcessor[PaymentTransaction],
        charges: ChargeLoop,
        lister: ChargeLister,
        monotonic_ms: Callable[[], int],
        every_ms: int,
    ) -> None:
        self._processor = processor
        self._charges = charges
        self._lister = lister
        self._monotonic_ms = monotonic_ms
        self._walks = (
            SettlementPass(every_ms, OVERLAP_MS, resumes=True),
            SettlementPass(DEEP_EVERY_MS, DEEP_BACK_MS, resumes=False),
        )
        self._alarmed: set[str] = set()

    def run_once(self) -> float:
        """Check one page if one is due; return how many seconds to rest."""
        now_ms = self._monotonic_ms()
        walk = next((walk for walk in self._walks if walk.is_due(now_ms)), None)
        if walk is None:
            return IDLE_S
        try:
            page = self._lister.charges(walk.after)
            self._settle([charge for charge in page if charge.succeeded])
        except (ProviderSilent, StoreUnavailable) as error:
            log.warning("settlement_waits", error=str(error))
            return IDLE_S
        walk.turn(page, now_ms)
        return PAGE_PAUSE_S

    def look(self, saga_id: str, intent: str) -> None:
        """Check the charges of one intent now. Safe from any thread; raises ProviderSilent."""
        found = self._lister.charges(intent=intent)
        self._settle([charge for charge in found if charge.succeeded and charge.saga_id == saga_id])

    def _settle(self, charges: Sequence[ListedCharge]) -> None:
        payments = self._payments([charge.saga_id for charge in charges if _is_saga(charge.saga_id)])
        found: list[tuple[ProviderCall, ProviderResult]] = []
        for charge in charges:
            payment = payments.get(charge.saga_id)
            match judge(charge, payment):
                case "unknown":
                    assert payment is not None
                    found.append(
                        (ProviderCall(ProviderRequest.FIND_CHARGE, payment, 1), Succeeded(charge.reference))
                    )
                case "owed":
                    assert payment is not None
                    self._check_refund(payment)
                case "":
                    pass
                case finding:
                    self._alarm(f"{finding}_charge", charge)
        for call, answer in found:
            if not self._charges.record([(call, answer)]):
                self._check_again(call.payment.saga_id, charges)

    def _payments(self, saga_ids: Sequence[str]) -> dict[str, Payment]:
        payments: dict[str, Payment] = {}

        def work(tx: PaymentTransaction) -> HandlerResult:
            payments.update(tx.load_payments(saga_ids))
            return HandlerResult()

        if saga_ids:
            self._processor.commit(work)
        return payments

    def _check_again(self, saga_id: str, charges: Sequence[ListedCharge]) -> None:
        """Raise an alarm if the charge's row was pruned, but not if it was resolved a moment ago."""
        payment = self._payments([saga_id]).get(saga_id)
        for charge in charges:
            if charge.saga_id == saga_id and judge(charge, payment) == "unknown":
                self._alarm("orphan_charge", charge)

    def _check_refund(self, seen: Payment) -> None:
        """Record a refund that was answered as done and failed later; it is then looked up until it is there.

        The list may be older than our row, so the refund itself is read first.
        """

        def work(tx: PaymentTransaction) -> HandlerResult:
            tx.lock_fences("payment", [seen.saga_id])
            payment = tx.load_payments([seen.saga_id])[seen.saga_id]
            if payment == seen and payment.last_error != REFUND_FAILED:
                tx.update_payments([payment._replace(last_error=REFUND_FAILED)])
                again = resolve_timer(payment.saga_id, "undo", tx.now_ms())
                tx.set_timers([again._replace(due_ms=tx.now_ms() + REFUSED_REFUND_WAIT_MS)])
            return HandlerResult()

        [answer] = self._lister.call([ProviderCall(ProviderRequest.FIND_REFUND, seen, 1)])
        if is_silence(answer):
            raise ProviderSilent("nothing is known of a refund")
        if isinstance(answer, Declined) and seen.last_error != REFUND_FAILED:
            self._processor.commit(work)
            self._charges.alarms["refund_failed"] += 1
            log.error("refund_failed", saga_id=seen.saga_id, refund_id=seen.refund_id)

    def _alarm(self, alarm: str, charge: ListedCharge) -> None:
        """Raise an alarm once per charge and process: an operator must look at it at the provider."""
        if charge.id not in self._alarmed:
            self._alarmed.add(charge.id)
            self._charges.alarms[alarm] += 1
            log.error(alarm, charge=charge.id, saga_id=charge.saga_id, amount_minor=charge.amount_minor)


def _is_saga(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
