"""What a charge, a refund, a cancellation and a delayed end write to the ledger.

This module knows no keys, scripts or HTTP. An operation runs in a transaction that `writer` begins and ends.
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


class ChargeParams(NamedTuple):
    amount: int
    currency: str
    payment_method: str
    card: Card
    metadata: dict[str, str]
    description: str | None


class RefundParams(NamedTuple):
    """A refund of a charge; without an amount, of all that is not refunded yet."""

    charge: str
    amount: int | None
    metadata: dict[str, str]
    reason: str | None


class Later(NamedTuple):
    """The final status comes after the answer."""

    after_ms: int
    ends: RefundEnd


def charge(
    ledger: Ledger, params: ChargeParams, idem_key: str | None, later: Later | None = None
) -> ProviderResponse:
    """Charge the card or decline it; with `later`, answer `processing` and end some time after it."""
    now_ms = ledger.now_ms()
    intent = objects.pending_intent(
        new_ref("pi", now_ms),
        new_ref("ch", now_ms),
        amount=params.amount,
        currency=params.currency,
        payment_method=params.payment_method,
        metadata=params.metadata,
        description=params.description,
        created=now_ms // 1000,
    )
    charged = objects.pending_charge(intent, params.card)
    if later is None:
        _mark_end(intent, charged, params.card.decline)
    saga_id = params.metadata.get("saga_id")
    ledger.append(intent, saga_id=saga_id, idem_key=idem_key)
    ledger.append(charged, saga_id=saga_id, idem_key=idem_key)
    if later is None:
        _add_end_event(ledger, intent, charged, idem_key)
    else:
        ledger.schedule(intent["id"], later.after_ms, later.ends)
    return card_error(intent) if intent["last_payment_error"] else answer(intent)


def refund(
    ledger: Ledger, params: RefundParams, idem_key: str | None, later: Later | None = None
) -> ProviderResponse:
    """Refund at most the part of a successful charge that is not refunded yet."""
    charged = _known(ledger, "charge", params.charge)
    left = charged["amount"] - charged["amount_refunded"]
    amount = left if params.amount is None else params.amount
    if charged["status"] != "succeeded":
        message = (
            f"This PaymentIntent ({charged['payment_intent']}) does not have a successful charge to refund."
        )
        return refusal(message, code="payment_intent_unexpected_state", param="payment_intent")
    if left == 0:
        return refusal(f"Charge {params.charge} has already been refunded.", code="charge_already_refunded")
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
        metadata=params.metadata,
        reason=params.reason,
        created=now_ms // 1000,
    )
    saga_id = params.metadata.get("saga_id", charged["metadata"].get("saga_id"))
    ledger.append(refunded, saga_id=saga_id, idem_key=idem_key)
    ledger.turn(charged)
    if status == "succeeded":
        _add_event(ledger, "charge.refunded", charged, charged, idem_key)
    if later:
        ledger.schedule(refunded["id"], later.after_ms, later.ends)
    return answer(refunded)


def cancel(ledger: Ledger, ref: str, reason: str | None) -> ProviderResponse:
    """Cancel an intent that was not paid."""
    intent = _known(ledger, "payment_intent", ref)
    if intent["status"] != "requires_payment_method":
        message = (
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
            " Only a PaymentIntent with the status requires_payment_method may be canceled."
        )
        return refusal(message, code="payment_intent_unexpected_state")
    objects.mark_canceled(intent, reason, ledger.now_ms() // 1000)
    ledger.turn(intent)
    _add_event(
        ledger, "payment_intent.canceled", intent, _known(ledger, "charge", intent["latest_charge"]), None
    )
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
    _add_end_event(ledger, intent, charged, None)


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
        _add_event(ledger, "refund.failed", refunded, charged, None)
    else:
        _add_event(ledger, "charge.refunded", charged, charged, None)


def _mark_end(intent: Json, charged: Json, decline: Decline | None) -> None:
    if decline is None:
        objects.mark_paid(intent, charged)
    else:
        objects.mark_declined(intent, charged, decline)


def _add_end_event(ledger: Ledger, intent: Json, charged: Json, idem_key: str | None) -> None:
    kind = "payment_intent.succeeded" if charged["paid"] else "payment_intent.payment_failed"
    _add_event(ledger, kind, intent, charged, idem_key)


def _add_event(ledger: Ledger, kind: str, subject: Json, charged: Json, idem_key: str | None) -> None:
    if not ledger.keeps_events:
        return
    now_ms = ledger.now_ms()
    event = objects.event(new_ref("evt", now_ms), kind, subject, created=now_ms // 1000, idem_key=idem_key)
    ledger.add_event(
        msgspec.json.encode(event),
        subject=idem_key or subject["id"],
        payment_method=charged["payment_method"],
        script=charged["metadata"].get(SCRIPT_KEY, ""),
    )


def _known(ledger: Ledger, what: str, ref: str) -> Json:
    found = ledger.object(ref)
    if found is None:
        raise missing(what, ref)
    return found
