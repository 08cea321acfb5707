"""What a provider's answer means for a payment: definitive, or still unknown. Pure.

UNKNOWN is resolved by the same call with the same key until the answer is definitive; a look-up that finds
nothing proves nothing (protocol: money; Stripe's idempotent requests).
"""

from enum import StrEnum
from typing import NamedTuple

from holdfast.messaging.backoff import backoff_ms
from holdfast.messaging.fence import Fence, FenceState

RESOLVE_BASE_MS = 500
RESOLVE_CAP_MS = 30_000
RETRY_AFTER_MAX_MS = 600_000
REFUSED_REFUND_WAIT_MS = 3_600_000  # the longest wait of all
SAME_ERROR_MAX = 3
REPEATED_UNDER_THE_KEY = ("http_5", "status_")
"""Answers that a provider may repeat under the key for ever: only a look-up shows what came after."""


class Payment(NamedTuple):
    """The facts of one payment; where it stands is in its fence row.

    `same_error` counts how often in a row the provider gave the very same answer that it may have stored.
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


class Ask(StrEnum):
    """What to ask the provider next."""

    CHARGE = "charge"
    REFUND = "refund"
    FIND_CHARGE = "find_charge"
    FIND_REFUND = "find_refund"


class Call(NamedTuple):
    """One call to the provider, made outside any transaction; `since_ms` is when its key was first sent."""

    ask: Ask
    payment: Payment
    attempt: int
    since_ms: int = 0

    @property
    def idempotency_key(self) -> str:
        """The stable key of a charge or refund; look-ups need none."""
        return f"{self.payment.saga_id}:payment:{self.verb}"

    @property
    def verb(self) -> str:
        """The timer's verb that this call serves."""
        return "do" if self.ask in (Ask.CHARGE, Ask.FIND_CHARGE) else "undo"


class Succeeded(NamedTuple):
    """Definitive: the money moved; `reference` is the provider's id."""

    reference: str


class Declined(NamedTuple):
    """Definitive, because the provider repeats it under the key: no money moved, none will."""

    code: str
    message: str


class Unknown(NamedTuple):
    """Anything else: time-out, lost connection, 5xx, 409 in flight, 429. `error` is a short code."""

    error: str
    retry_after_ms: int = 0


Answer = Succeeded | Declined | Unknown


class Resolution(NamedTuple):
    """What an answer leads to. `processed`, `failed`, `compensated`: events to append.

    `wait_ms`: ask again after this long (None: no more); `refund_now`: start the refund; `alarm`: a person
    should look.
    """

    fence: Fence
    payment: Payment
    processed: bool = False
    failed: bool = False
    compensated: bool = False
    wait_ms: int | None = None
    refund_now: bool = False
    alarm: str = ""


def next_ask(payment: Payment, verb: str, age_ms: int, key_lifetime_ms: int) -> Ask:
    """Choose between the same call again and a look-up: a key too old, or an error stored under it."""
    look_up = age_ms >= key_lifetime_ms or payment.same_error >= SAME_ERROR_MAX
    if verb == "do":
        return Ask.FIND_CHARGE if look_up else Ask.CHARGE
    return Ask.FIND_REFUND if look_up else Ask.REFUND


def resolve(fence: Fence, call: Call, answer: Answer) -> Resolution | None:
    """Return what the answer does to the payment, or None where the row has moved on without it.

    `call.payment` is the row as it is now, under its fence's lock, not as it was when the call began.
    """
    payment = call.payment
    if fence.state is not (FenceState.RUNNING if call.verb == "do" else FenceState.UNDOING):
        return None
    if isinstance(answer, Unknown):
        return _unknown(fence, call, answer)
    if call.verb == "do":
        return (
            _charged(fence, payment, answer)
            if isinstance(answer, Succeeded)
            else _declined(fence, payment, answer)
        )
    if isinstance(answer, Declined):
        refused = payment._replace(last_error=f"refund refused: {answer.code}")
        return Resolution(fence, refused, wait_ms=REFUSED_REFUND_WAIT_MS, alarm="refund_refused")
    refunded = payment._replace(refund_id=answer.reference, last_error="", same_error=0)
    return Resolution(fence._replace(state=FenceState.UNDONE), refunded, compensated=True)


def _charged(fence: Fence, payment: Payment, answer: Succeeded) -> Resolution:
    charged = payment._replace(charge_id=answer.reference, last_error="", same_error=0)
    if fence.undo_requested:
        return Resolution(fence._replace(state=FenceState.UNDOING), charged, refund_now=True)
    return Resolution(fence._replace(state=FenceState.DONE), charged, processed=True)


def _declined(fence: Fence, payment: Payment, answer: Declined) -> Resolution:
    declined = payment._replace(decline_code=answer.code, last_error="", same_error=0)
    refused = fence._replace(state=FenceState.REFUSED)
    return Resolution(refused, declined, failed=True, compensated=fence.undo_requested)


def _unknown(fence: Fence, call: Call, answer: Unknown) -> Resolution:
    """Ask again later. A look-up that found nothing proves nothing, so the same call is next after it."""
    payment = call.payment
    looked_up = call.ask in (Ask.FIND_CHARGE, Ask.FIND_REFUND)
    repeats = 0
    if not looked_up and answer.error.startswith(REPEATED_UNDER_THE_KEY):
        repeats = 1 + (payment.same_error if answer.error == payment.last_error else 0)
    wait_ms = backoff_ms(call.attempt, RESOLVE_BASE_MS, RESOLVE_CAP_MS, call.idempotency_key)
    wait_ms = max(min(answer.retry_after_ms, RETRY_AFTER_MAX_MS), wait_ms)
    asked = payment._replace(last_error=answer.error, same_error=repeats)
    alarm = looked_up and not answer.error.startswith("status_")  # a provider still at work is no alarm
    return Resolution(fence, asked, wait_ms=wait_ms, alarm="payment_unknown" if alarm else "")
