"""What a charge, a refund, a cancellation and a late end write to the ledger.

It knows no keys, scripts or HTTP. An operation runs in a transaction that `writer` begins and ends.
"""

from typing import NamedTuple

import msgspec

from holdfast.payment_provider import objects
from holdfast.payment_provider.cards import (
    CARDS,
    GENERIC,
    REFUND_ENDS_AFTER_MS,
    Card,
    Decline,
    RefundEnd,
    split_token,
)
from holdfast.payment_provider.errors import ProviderResponse, answer, card_error, missing, refusal
from holdfast.payment_provider.ledger import Ledger, new_ref
from holdfast.payment_provider.objects import Json

SCRIPT_KEY = "behaviour"  # the metadata that scripts one payment, beside the token's suffix


class ChargeAsk(NamedTuple):
    amount: int
    currency: str
    payment_method: str
    card: Card
    metadata: dict[str, str]
    description: str | None


class RefundAsk(NamedTuple):
    """A refund of a charge; without an amount it is all that is left."""

    charge: str
    amount: int | None
    metadata: dict[str, str]
    reason: str | None


class Later(NamedTuple):
    """The final status comes after the answer."""

    after_ms: int
    ends: RefundEnd


def charge(
    ledger: Ledger, ask: ChargeAsk, idem_key: str | None, later: Later | None = None
) -> ProviderResponse:
    """Charges the card once, or is declined, or (`later`) answers `processing` and ends by itself."""
    now_ms = ledger.now_ms()
    intent = objects.pending_intent(
        new_ref("pi", now_ms),
        new_ref("ch", now_ms),
        amount=ask.amount,
        currency=ask.currency,
        payment_method=ask.payment_method,
        metadata=ask.metadata,
        description=ask.description,
        created=now_ms // 1000,
    )
    charged = objects.pending_charge(intent, ask.card)
    if later is None:
        _mark_end(intent, charged, ask.card.decline)
    saga_id = ask.metadata.get("saga_id")
    ledger.append(intent, saga_id=saga_id, idem_key=idem_key)
    ledger.append(charged, saga_id=saga_id, idem_key=idem_key)
    if later is None:
        _tell_end(ledger, intent, charged, idem_key)
    else:
        ledger.schedule(intent["id"], later.after_ms, later.ends)
    return card_error(intent) if intent["last_payment_error"] else answer(intent)


def refund(
    ledger: Ledger, ask: RefundAsk, idem_key: str | None, later: Later | None = None
) -> ProviderResponse:
    """Gives back at most what is left of a successful charge."""
    charged = _known(ledger, "charge", ask.charge)
    left = charged["amount"] - charged["amount_refunded"]
    amount = left if ask.amount is None else ask.amount
    if charged["status"] != "succeeded":
        message = (
            f"This PaymentIntent ({charged['payment_intent']}) does not have a successful charge to refund."
        )
        return refusal(message, code="payment_intent_unexpected_state", param="payment_intent")
    if left == 0:
        return refusal(f"Charge {ask.charge} has already been refunded.", code="charge_already_refunded")
    if amount > left:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        return refusal(message, code="amount_too_large", param="amount")
    card = CARDS[split_token(charged["payment_method"])[0]]
    status = "pending" if later else card.refund_status
    if later is None and card.refund_end:
        later = Later(REFUND_ENDS_AFTER_MS, card.refund_end)
    now_ms = ledger.now_ms()
    refunded = objects.open_refund(
        new_ref("re", now_ms),
        charged,
        amount=amount,
        status=status,
        metadata=ask.metadata,
        reason=ask.reason,
        created=now_ms // 1000,
    )
    saga_id = ask.metadata.get("saga_id", charged["metadata"].get("saga_id"))
    ledger.append(refunded, saga_id=saga_id, idem_key=idem_key)
    ledger.turn(charged)
    if status == "succeeded":
        _tell(ledger, "charge.refunded", charged, charged, idem_key)
    if later:
        ledger.schedule(refunded["id"], later.after_ms, later.ends)
    return answer(refunded)


def cancel(ledger: Ledger, ref: str, reason: str | None) -> ProviderResponse:
    """Closes an intent that was not paid."""
    intent = _known(ledger, "payment_intent", ref)
    if intent["status"] != "requires_payment_method":
        message = (
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
            " Only a PaymentIntent with the status requires_payment_method may be canceled."
        )
        return refusal(message, code="payment_intent_unexpected_state")
    objects.mark_canceled(intent, reason, ledger.now_ms() // 1000)
    ledger.turn(intent)
    _tell(ledger, "payment_intent.canceled", intent, _known(ledger, "charge", intent["latest_charge"]), None)
    return answer(intent)


def end_due(ledger: Ledger) -> int:
    """Give every due object its final status; return how many there were."""
    due = ledger.take_due()
    for ref, ends in due:
        if ref.startswith("re_"):
            _end_refund(ledger, ref, ends)
        else:
            _end_charge(ledger, ref, ends)
    return len(due)


def _end_charge(ledger: Ledger, ref: str, ends: str) -> None:
    intent = _known(ledger, "payment_intent", ref)
    charged = _known(ledger, "charge", intent["latest_charge"])
    card = CARDS[split_token(charged["payment_method"])[0]]
    _mark_end(intent, charged, card.decline or (GENERIC if ends == "failed" else None))
    ledger.turn(intent)
    ledger.turn(charged)
    _tell_end(ledger, intent, charged, None)


def _end_refund(ledger: Ledger, ref: str, ends: str) -> None:
    refunded = _known(ledger, "refund", ref)
    charged = _known(ledger, "charge", refunded["charge"])
    if ends == "failed":
        objects.mark_refund_failed(refunded, charged)
        ledger.turn(charged)
    else:
        refunded["status"] = ends
    ledger.turn(refunded)
    if ends == "failed":
        _tell(ledger, "refund.failed", refunded, charged, None)
    else:
        _tell(ledger, "charge.refunded", charged, charged, None)


def _mark_end(intent: Json, charged: Json, decline: Decline | None) -> None:
    if decline is None:
        objects.mark_paid(intent, charged)
    else:
        objects.mark_declined(intent, charged, decline)


def _tell_end(ledger: Ledger, intent: Json, charged: Json, idem_key: str | None) -> None:
    kind = "payment_intent.succeeded" if charged["paid"] else "payment_intent.payment_failed"
    _tell(ledger, kind, intent, charged, idem_key)


def _tell(ledger: Ledger, kind: str, subject: Json, charged: Json, idem_key: str | None) -> None:
    if not ledger.keeps_events:
        return
    now_ms = ledger.now_ms()
    told = objects.event(new_ref("evt", now_ms), kind, subject, created=now_ms // 1000, idem_key=idem_key)
    ledger.add_event(
        msgspec.json.encode(told),
        subject=idem_key or subject["id"],
        payment_method=charged["payment_method"],
        script=charged["metadata"].get(SCRIPT_KEY, ""),
    )


def _known(ledger: Ledger, what: str, ref: str) -> Json:
    found = ledger.object(ref)
    if found is None:
        raise missing(what, ref)
    return found
