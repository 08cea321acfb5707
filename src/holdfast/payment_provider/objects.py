"""The JSON objects as Stripe shapes them, and the ways they change.

No storage and no HTTP: dictionaries in, dictionaries changed or out.
"""

from typing import Any

from holdfast.payment_provider.cards import Card, Decline

Json = dict[str, Any]


def pending_intent(
    ref: str,
    charge_ref: str,
    *,
    amount: int,
    currency: str,
    payment_method: str,
    metadata: dict[str, str],
    description: str | None,
    created: int,
) -> Json:
    """Make a confirmed PaymentIntent whose charge is not final yet."""
    return {
        "id": ref,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_received": 0,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "confirmation_method": "automatic",
        "created": created,
        "currency": currency,
        "description": description,
        "last_payment_error": None,
        "latest_charge": charge_ref,
        "livemode": False,
        "metadata": metadata,
        "next_action": None,
        "payment_method": payment_method,
        "payment_method_types": ["card"],
        "status": "processing",
    }


def pending_charge(intent: Json, card: Card) -> Json:
    """Make the charge of a PaymentIntent before it is final."""
    return {
        "id": intent["latest_charge"],
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "captured": False,
        "created": intent["created"],
        "currency": intent["currency"],
        "description": intent["description"],
        "disputed": False,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": intent["metadata"],
        "outcome": None,
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "payment_method_details": {"card": {"brand": card.brand, "last4": card.last4}, "type": "card"},
        "refunded": False,
        "status": "pending",
    }


def mark_paid(intent: Json, charge: Json) -> None:
    """Mark the charge as succeeded."""
    intent.update(status="succeeded", amount_received=intent["amount"])
    charge.update(
        status="succeeded",
        paid=True,
        captured=True,
        amount_captured=charge["amount"],
        outcome={"network_status": "approved_by_network", "reason": None, "type": "authorized"},
    )


def mark_declined(intent: Json, charge: Json, decline: Decline) -> None:
    """Mark the charge as declined; the intent waits for another payment method, as Stripe's does."""
    intent.update(
        status="requires_payment_method",
        payment_method=None,
        last_payment_error={
            "charge": charge["id"],
            "code": decline.code,
            "decline_code": decline.decline_code,
            "message": decline.message,
            "payment_method": {"id": charge["payment_method"], "object": "payment_method", "type": "card"},
            "type": "card_error",
        },
    )
    charge.update(
        status="failed",
        failure_code=decline.code,
        failure_message=decline.message,
        outcome={
            "network_status": "declined_by_network",
            "reason": decline.decline_code,
            "type": "issuer_declined",
        },
    )


def mark_canceled(intent: Json, reason: str | None, at: int) -> None:
    """Mark the intent as canceled: it can no longer be paid."""
    intent.update(status="canceled", canceled_at=at, cancellation_reason=reason)


def open_refund(
    ref: str,
    charge: Json,
    *,
    amount: int,
    status: str,
    metadata: dict[str, str],
    reason: str | None,
    created: int,
) -> Json:
    """Make a refund of `charge`; its refunded amount is raised at once, even if the refund is pending."""
    _move_refunded(charge, amount)
    return {
        "id": ref,
        "object": "refund",
        "amount": amount,
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "metadata": metadata,
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "status": status,
    }


def mark_refund_failed(refund: Json, charge: Json) -> None:
    """Mark a refund as failed: the money is back with the merchant, and is owed again."""
    refund.update(status="failed", failure_reason="unknown")
    _move_refunded(charge, -refund["amount"])


def _move_refunded(charge: Json, amount: int) -> None:
    refunded = charge["amount_refunded"] + amount
    charge.update(amount_refunded=refunded, refunded=refunded == charge["amount"])


def page(url: str, data: list[Json], *, has_more: bool) -> Json:
    """Make one page of a list."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def search_result(url: str, data: list[Json]) -> Json:
    """Make the list of all results of a search."""
    return {"object": "search_result", "data": data, "has_more": False, "next_page": None, "url": url}


def event(ref: str, kind: str, subject: Json, *, created: int, idem_key: str | None) -> Json:
    """Make the event that a webhook sends."""
    return {
        "id": ref,
        "object": "event",
        "api_version": "2026-01-28",
        "created": created,
        "data": {"object": subject},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": idem_key},
        "type": kind,
    }
