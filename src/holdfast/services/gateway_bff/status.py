"""How a checkout stands, in a shopper's words: steps, money, one sentence. Pure.

Says "you were not charged" only where that is true.
"""

from holdfast.contracts.http_api import CheckoutView, SagaView, StepView
from holdfast.saga.definition import Step
from holdfast.sagas.checkout import CHECKOUT
from holdfast.services.gateway_bff.domain import COMPLETED, FAILED, Checkout

COMPENSATING = CHECKOUT.compensating
CHARGED = "PAYMENT_PROCESSED"
_PAYING = "PAYMENT_PROCESSING_PENDING"
_BEFORE_PAYING = frozenset({"CHECKOUT_INITIATED", "INVENTORY_RESERVATION_PENDING", "INVENTORY_RESERVED"})
_NEVER_CHARGED = frozenset({"out_of_stock", "unknown_product", "payment_declined"})
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
}


def view(checkout: Checkout, saga: SagaView | None, *, stale: bool = False) -> CheckoutView:
    """Return how the checkout stands; `saga` is what the orchestrator tells, None where it does not."""
    state = checkout.status if checkout.is_terminal or saga is None else saga.state
    ended = state in (COMPLETED, FAILED)
    return CheckoutView(
        saga_id=checkout.saga_id,
        state=state,
        cart_id=checkout.cart_id,
        total_minor=checkout.total_minor,
        currency=checkout.currency,
        money_held=not ended and _money_held(state, saga),
        message=_message(checkout, state, saga),
        created_ms=checkout.created_ms,
        steps=_steps(saga) if saga else (),
        order_id=checkout.order_id or None,
        reason=(checkout.reason or (saga.reason if saga else "")) or None,
        detail=checkout.detail or None,
        stalled=bool(saga and saga.stalled_ms and not ended),
        stale=stale,
    )


def _money_held(state: str, saga: SagaView | None) -> bool:
    """Tell whether money may be held: from the moment a charge was asked for until it is given back."""
    if state == COMPENSATING:
        return saga is None or "payment" in saga.owed
    return state not in _BEFORE_PAYING


def _message(checkout: Checkout, state: str, saga: SagaView | None) -> str:
    if state == COMPLETED:
        return f"Thank you: your order {checkout.order_id} is paid and placed."
    charged = saga is not None and any(CHARGED in event.path for event in saga.history)
    reason = checkout.reason or (saga.reason if saga else "")
    why = _WHY.get(reason, "Your checkout could not be completed")
    if state == FAILED:
        if charged:
            return f"{why}. Your payment was refunded in full: nothing was charged in the end."
        if saga is not None or reason in _NEVER_CHARGED:
            return f"{why}. You were not charged."
        return f"{why}. Nothing was charged in the end."
    if state == COMPENSATING:
        if saga is not None and "payment" in saga.owed:
            paid = "Your payment" if charged else "Any payment"
            return f"{why}. {paid} is being refunded."
        return f"{why}. Your reservation is being released."
    return _FORWARD.get(state, "Your checkout is being processed.")


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
