"""Describes a checkout to a shopper: its steps, its money and one sentence. Pure.

It says "You were not charged" only if that is certain.
"""

from holdfast.contracts.http_api import CheckoutView, SagaView, StepView
from holdfast.saga.definition import Step
from holdfast.sagas.checkout import CANCELLED_BY_OPERATOR, CANCELLED_BY_SHOPPER, CHECKOUT
from holdfast.services.gateway_bff.domain import COMPLETED, FAILED, Checkout

COMPENSATING = CHECKOUT.compensating
_PAYMENT = CHECKOUT.step_named["payment"]
CHARGED = "PAYMENT_PROCESSED"
_PAYING = "PAYMENT_PROCESSING_PENDING"
_BEFORE_PAYING = frozenset({"CHECKOUT_INITIATED", "INVENTORY_RESERVATION_PENDING", "INVENTORY_RESERVED"})
_NEVER_CHARGED = frozenset({"out_of_stock", "unknown_product", "payment_declined"})
_DETAIL_SHOWN = frozenset({"out_of_stock", "unknown_product", "payment_declined", "order_total_above_limit"})
"""Reasons whose detail a shopper may read; others are private, such as an operator's words about a cart."""
_FORWARD = {
    "CHECKOUT_INITIATED": "Your checkout was received.",
    "INVENTORY_RESERVATION_PENDING": "We are reserving your items.",
    "INVENTORY_RESERVED": "Your items are reserved.",
    _PAYING: "Your payment is being processed.",
    CHARGED: "Your payment was received.",
    "ORDER_CREATION_PENDING": "Your payment was received and your order is being created.",
    "ORDER_CREATED": "Your order was created.",
    "CART_CLEARANCE_PENDING": "Your order is being completed.",
}
_WHY = {
    "out_of_stock": "Something in your cart is out of stock",
    "unknown_product": "Something in your cart is no longer sold",
    "payment_declined": "Your card was declined",
    "order_total_above_limit": "The order is above what one order may be",
    "order_does_not_add_up": "The order did not add up",
    "cart_on_hold": "Your cart is on hold; please contact us",
    "deadline": "Something on our side did not answer in time",
    "expired": "Your checkout took too long",
    CANCELLED_BY_SHOPPER: "You cancelled this checkout",
    CANCELLED_BY_OPERATOR: "We had to cancel this checkout",
}


def view(checkout: Checkout, saga: SagaView | None, *, stale: bool = False) -> CheckoutView:
    """Return the checkout for its shopper; `saga` is the orchestrator's view, None if it has none or is down.

    `stale`: the orchestrator could not be asked, so money may be held although the row does not show it.
    """
    state = checkout.status if checkout.is_terminal or saga is None else saga.state
    ended = state in (COMPLETED, FAILED)
    reason = checkout.reason or (saga.reason if saga else "")
    return CheckoutView(
        saga_id=checkout.saga_id,
        state=state,
        cart_id=checkout.cart_id,
        total_minor=checkout.total_minor,
        currency=checkout.currency,
        money_held=not ended and (stale or _money_held(state, saga)),
        message=_message(checkout, state, saga, reason, stale=stale),
        created_ms=checkout.created_ms,
        steps=_steps(saga) if saga else (),
        order_id=_order_id(checkout, saga) or None,
        reason=reason or None,
        detail=(checkout.detail if reason in _DETAIL_SHOWN else "") or None,
        stalled=bool(saga and saga.stalled_ms and not ended),
        stale=stale,
    )


def _money_held(state: str, saga: SagaView | None) -> bool:
    """Tell whether money may be held: from the command to charge until the money is given back."""
    if state == COMPENSATING:
        return saga is None or "payment" in saga.owed
    return state not in _BEFORE_PAYING


def _order_id(checkout: Checkout, saga: SagaView | None) -> str:
    """Return the order's id; the orchestrator may know it a moment before the row has it."""
    if checkout.order_id or saga is None or saga.state != COMPLETED:
        return checkout.order_id
    return str(saga.results["order"]["order_id"])


def _message(checkout: Checkout, state: str, saga: SagaView | None, reason: str, *, stale: bool) -> str:
    if state == COMPLETED:
        return f"Thank you: your order {_order_id(checkout, saga)} is paid and placed."
    if stale:
        return "Your checkout is under way; how far it is cannot be read just now."
    why = _WHY.get(reason, "Your checkout could not be completed")
    if state == FAILED:
        return f"{why}. {_money_given_back(saga, reason)}"
    if state == COMPENSATING:
        if saga is not None and "payment" in saga.owed:
            paid = "Your payment" if _was_charged(saga) else "Any payment"
            return f"{why}. {paid} is being refunded."
        return f"{why}. Your reservation is being released."
    return _FORWARD.get(state, "Your checkout is being processed.")


def _money_given_back(saga: SagaView | None, reason: str) -> str:
    """Say what happened to the money of a failed checkout; a payment without an answer may have been made."""
    if saga is None:
        certain = reason in _NEVER_CHARGED
    elif _was_charged(saga):
        return "Your payment was refunded in full: nothing was charged in the end."
    else:
        kinds = {event.kind for event in saga.history}
        asked = any(_PAYING in event.path for event in saga.history)
        certain = not asked or _PAYMENT.failed in kinds
    return "You were not charged." if certain else "Nothing was charged in the end."


def _was_charged(saga: SagaView) -> bool:
    return any(CHARGED in event.path for event in saga.history)


def _steps(saga: SagaView) -> tuple[StepView, ...]:
    return tuple(_step(step, saga) for step in CHECKOUT.steps)


def _step(step: Step, saga: SagaView) -> StepView:
    name, state, started_ms, finished_ms = step.name, "waiting", 0, 0
    for event in saga.history:
        if step.finished in event.path and state == "pending":
            state, finished_ms = "done", event.at_ms
        if step.pending in event.path:
            state, started_ms = "pending", event.at_ms
        if event.kind == step.failed and state == "pending":
            state, finished_ms = "failed", event.at_ms
        if event.kind == step.undone:
            state, finished_ms = "undone", event.at_ms
    if name in saga.owed:
        state, finished_ms = "undoing", 0
    return StepView(name, state, started_ms, finished_ms)
