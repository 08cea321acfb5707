"""What a provider's answer means for a payment: definitive, or still unknown. Pure.

While it is unknown, the same call is made again with the same key until the answer is definitive. A look-up
that finds nothing proves nothing (protocol: money; Stripe's idempotent requests).
"""

from enum import StrEnum
from typing import NamedTuple

from holdfast.messaging.backoff import backoff_ms
from holdfast.messaging.fence import Fence, FenceState

RESOLVE_BASE_MS = 500
RESOLVE_CAP_MS = 30_000
RETRY_AFTER_MAX_MS = 600_000
REFUSED_REFUND_WAIT_MS = 3_600_000  # the longest wait before any next call
SAME_ERROR_MAX = 3
STORED = "stored_"
"""The prefix of an error that the provider stores under the key and repeats, as its answer says."""
REFUND_REFUSED = "refund refused: "
REFUND_FAILED = "refund failed"
"""The refund was answered as done and failed later: the money is owed again."""
_REPEATED = (STORED, "status_", REFUND_FAILED)
"""The same call gets these answers again, whatever happens later: only a look-up shows more."""
_KEPT = (STORED, REFUND_REFUSED, REFUND_FAILED)
"""Errors that stay in the row if a look-up finds nothing, so that an operator still sees them."""


class Payment(NamedTuple):
    """The facts of one payment; its state is in its fence row.

    `same_error` counts how often in a row the provider gave the same answer, which it may have stored.
    """

    saga_id: str
    user_id: str
    payment_method: str
    amount_minor: int
    currency: str
    charge_id: str = ""
    refund_id: str = ""
    decline_code: str = ""
    last_error: str = ""
    same_error: int = 0

    @property
    def asked(self) -> tuple[str, str, int, str]:
        """What the saga asked for; it never changes."""
        return self.user_id, self.payment_method, self.amount_minor, self.currency


class ProviderRequest(StrEnum):
    """What to ask the provider next."""

    CHARGE = "charge"
    REFUND = "refund"
    FIND_CHARGE = "find_charge"
    FIND_REFUND = "find_refund"
    SHOW_CHARGE = "show_charge"
    """Read the charge that `Payment.charge_id` names, and check that it belongs to this payment."""


class ProviderCall(NamedTuple):
    """One call to the provider, made outside any transaction; `since_ms` is when its key was first sent."""

    ask: ProviderRequest
    payment: Payment
    attempt: int
    since_ms: int = 0

    @property
    def idempotency_key(self) -> str:
        """The stable key of a charge or refund; look-ups need none."""
        return f"{self.payment.saga_id}:payment:{self.verb}"

    @property
    def is_first(self) -> bool:
        """Tell whether nothing was asked under this key before."""
        return self.attempt <= 1

    @property
    def verb(self) -> str:
        """The timer's verb that this call serves."""
        return "undo" if self.ask in (ProviderRequest.REFUND, ProviderRequest.FIND_REFUND) else "do"


class Succeeded(NamedTuple):
    """Definitive: the money moved; `reference` is the provider's id."""

    reference: str


class Declined(NamedTuple):
    """Definitive, because the provider repeats it under the key: no money has moved or will move."""

    code: str
    message: str


class Unknown(NamedTuple):
    """Any other answer, or none: time-out, lost connection, 5xx, 409, 429. `error` is a short code."""

    error: str
    retry_after_ms: int = 0


class NotSent(NamedTuple):
    """The breaker held the call back: nothing was sent to the provider, and no attempt is counted."""

    retry_after_ms: int


ProviderResult = Succeeded | Declined | Unknown | NotSent


def is_silence(answer: ProviderResult) -> bool:
    """Tell whether the provider said nothing about the payment; it may when it is asked again."""
    silent = ("http_5", "http_429", "connection_lost")
    return isinstance(answer, NotSent) or (isinstance(answer, Unknown) and answer.error.startswith(silent))


class Resolution(NamedTuple):
    """What an answer leads to. `processed`, `failed` and `compensated` say which events to append.

    `wait_ms`: call again after this time (None: never); `refund_now`: start the refund; `alarm`: the name of
    the alarm for a person, empty if there is none.
    """

    fence: Fence
    payment: Payment
    processed: bool = False
    failed: bool = False
    compensated: bool = False
    wait_ms: int | None = None
    refund_now: bool = False
    alarm: str = ""


def awaits(fence: Fence, payment: Payment, verb: str) -> bool:
    """Tell whether the payment still needs a call of this verb."""
    if verb == "do":
        return fence.state is FenceState.RUNNING
    return fence.state is FenceState.UNDOING or is_stray(fence, payment) or is_owed_again(fence, payment)


def is_stray(fence: Fence, payment: Payment) -> bool:
    """Tell whether there is a charge to refund that appeared after the row was closed without one."""
    closed = fence.state in (FenceState.REFUSED, FenceState.TOMBSTONE)
    return closed and payment.charge_id != "" and payment.refund_id == ""


def is_owed_again(fence: Fence, payment: Payment) -> bool:
    """Tell whether a refund was answered as done and failed later."""
    return fence.state is FenceState.UNDONE and payment.last_error == REFUND_FAILED


def next_ask(payment: Payment, verb: str, age_ms: int, key_lifetime_ms: int) -> ProviderRequest:
    """Choose the same call, or a look-up if the key is too old or the provider repeats a stored answer."""
    repeats = payment.same_error >= SAME_ERROR_MAX or payment.last_error.startswith(_REPEATED)
    look_up = age_ms >= key_lifetime_ms or repeats
    if verb == "do":
        return ProviderRequest.FIND_CHARGE if look_up else ProviderRequest.CHARGE
    return ProviderRequest.FIND_REFUND if look_up else ProviderRequest.REFUND


def resolve(fence: Fence, call: ProviderCall, answer: ProviderResult) -> Resolution | None:
    """Return what the answer does to the payment, or None if the row no longer awaits it.

    `call.payment` must be the row as it is now, read under its fence's lock, not as it was at the call.
    """
    payment = call.payment
    if not awaits(fence, payment, call.verb):
        return _late(fence, call, answer)
    match answer:
        case NotSent(retry_after_ms):
            return Resolution(fence, payment, wait_ms=max(retry_after_ms, RESOLVE_BASE_MS))
        case Unknown():
            return _unknown(fence, call, answer)
        case Succeeded():
            act = _charged if call.verb == "do" else _refunded
            return act(fence, payment, answer)
        case Declined():
            return (
                _declined(fence, payment, answer)
                if call.verb == "do"
                else _refund_refused(fence, payment, answer)
            )


def _late(fence: Fence, call: ProviderCall, answer: ProviderResult) -> Resolution | None:
    """Change nothing, unless money moved for a row that was closed without a charge: then refund it."""
    stray = call.payment._replace(charge_id=answer.reference) if isinstance(answer, Succeeded) else None
    if call.verb == "undo" or stray is None or call.payment.charge_id or not is_stray(fence, stray):
        return None
    return Resolution(fence, stray, refund_now=True, alarm="stray_charge")


def _charged(fence: Fence, payment: Payment, answer: Succeeded) -> Resolution:
    charged = payment._replace(charge_id=answer.reference, last_error="", same_error=0)
    if fence.undo_requested:
        return Resolution(fence._replace(state=FenceState.UNDOING), charged, refund_now=True)
    return Resolution(fence._replace(state=FenceState.DONE), charged, processed=True)


def _declined(fence: Fence, payment: Payment, answer: Declined) -> Resolution:
    declined = payment._replace(decline_code=answer.code, last_error="", same_error=0)
    refused = fence._replace(state=FenceState.REFUSED)
    return Resolution(refused, declined, failed=True, compensated=fence.undo_requested)


def _refunded(fence: Fence, payment: Payment, answer: Succeeded) -> Resolution:
    refunded = payment._replace(refund_id=answer.reference, last_error="", same_error=0)
    if fence.state is not FenceState.UNDOING:
        return Resolution(fence, refunded)  # the saga has already got its reply
    return Resolution(fence._replace(state=FenceState.UNDONE), refunded, compensated=True)


def _refund_refused(fence: Fence, payment: Payment, answer: Declined) -> Resolution:
    """Keep the state; later calls in turns look for a refund made by hand and try the refund again."""
    error = REFUND_FAILED if is_owed_again(fence, payment) else f"{REFUND_REFUSED}{answer.code}"
    refused = payment._replace(last_error=error, same_error=SAME_ERROR_MAX)
    return Resolution(fence, refused, wait_ms=REFUSED_REFUND_WAIT_MS, alarm="refund_refused")


def _unknown(fence: Fence, call: ProviderCall, answer: Unknown) -> Resolution:
    """Call again later. A look-up that found nothing proves nothing, so the same call comes after it."""
    payment = call.payment
    looked_up = call.ask not in (ProviderRequest.CHARGE, ProviderRequest.REFUND)
    repeats = 0
    if not looked_up and answer.error.startswith("http_5"):
        repeats = 1 + (payment.same_error if answer.error == payment.last_error else 0)
    wait_ms = backoff_ms(call.attempt, RESOLVE_BASE_MS, RESOLVE_CAP_MS, call.idempotency_key)
    wait_ms = max(min(answer.retry_after_ms, RETRY_AFTER_MAX_MS), wait_ms)
    kept = looked_up and payment.last_error.startswith(_KEPT)
    if kept and not payment.last_error.startswith(STORED) and answer.error == "not_found":
        wait_ms = REFUSED_REFUND_WAIT_MS
    error = payment.last_error if kept else answer.error
    asked = payment._replace(last_error=error, same_error=repeats)
    alarm = looked_up and not answer.error.startswith("status_")  # no alarm while the provider works on it
    return Resolution(fence, asked, wait_ms=wait_ms, alarm="payment_unknown" if alarm else "")
