"""The test payment methods, by Stripe's own names, and what each of them does.

Scripted faults of the network or of the provider itself are in `faults`.
"""

from typing import Literal, NamedTuple

RefundEnd = Literal["succeeded", "failed"]


class Decline(NamedTuple):
    """Why the issuer declined, in Stripe's words."""

    code: str
    decline_code: str
    message: str


class Card(NamedTuple):
    """A payment method; its refunds answer `refund_status` and, if `refund_end` is set, end with that."""

    brand: str
    last4: str
    decline: Decline | None = None
    refund_status: Literal["succeeded", "pending"] = "succeeded"
    refund_end: RefundEnd | None = None


REFUND_ENDS_AFTER_MS = 1000


def _declined(decline_code: str, message: str, code: str = "card_declined") -> Decline:
    return Decline(code, decline_code, message)


GENERIC = _declined("generic_decline", "Your card was declined.")
_INSUFFICIENT = _declined("insufficient_funds", "Your card has insufficient funds.")
_LOST = _declined("lost_card", "Your card was declined.")
_STOLEN = _declined("stolen_card", "Your card was declined.")
_VELOCITY = _declined(
    "card_velocity_exceeded",
    "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
)
_EXPIRED = _declined("expired_card", "Your card has expired.", "expired_card")
_CVC = _declined("incorrect_cvc", "Your card's security code is incorrect.", "incorrect_cvc")
_PROCESSING = _declined(
    "processing_error",
    "An error occurred while processing your card. Try again in a little bit.",
    "processing_error",
)

CARDS: dict[str, Card] = {
    "pm_card_visa": Card("visa", "4242"),
    "pm_card_visa_debit": Card("visa", "5556"),
    "pm_card_mastercard": Card("mastercard", "4444"),
    "pm_card_amex": Card("amex", "8431"),
    "pm_card_discover": Card("discover", "1117"),
    "pm_card_diners": Card("diners", "0004"),
    "pm_card_jcb": Card("jcb", "0505"),
    "pm_card_unionpay": Card("unionpay", "0005"),
    "pm_card_chargeDeclined": Card("visa", "0002", GENERIC),
    "pm_card_chargeDeclinedInsufficientFunds": Card("visa", "9995", _INSUFFICIENT),
    "pm_card_chargeDeclinedLostCard": Card("visa", "9987", _LOST),
    "pm_card_chargeDeclinedStolenCard": Card("visa", "9979", _STOLEN),
    "pm_card_chargeDeclinedVelocityLimitExceeded": Card("visa", "6975", _VELOCITY),
    "pm_card_chargeDeclinedExpiredCard": Card("visa", "0069", _EXPIRED),
    "pm_card_chargeDeclinedIncorrectCvc": Card("visa", "0127", _CVC),
    "pm_card_chargeDeclinedProcessingError": Card("visa", "0119", _PROCESSING),
    "pm_card_pendingRefund": Card("visa", "7726", refund_status="pending", refund_end="succeeded"),
    "pm_card_refundFail": Card("visa", "5126", refund_end="failed"),
}

# Stripe spells its declining cards with the brand in the middle, too.
CARDS |= {
    name.replace("pm_card_", "pm_card_visa_"): card
    for name, card in CARDS.items()
    if card.decline is not None
}


def split_token(payment_method: str) -> tuple[str, str]:
    """Return the card's own name, and the words of the script after `__`, separated by spaces."""
    name, _, script = payment_method.partition("__")
    return name, script.replace("__", " ")
