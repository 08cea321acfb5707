"""CHECKOUT: reserve, pay, create the order, clear the cart; then confirm. A failure undoes what was done.

What an event does follows from the steps; the four failures have functions of their own, named by the seed.
"""

from collections.abc import Callable

from holdfast.contracts.codec import decode_as
from holdfast.contracts.messages import (
    CartCleared,
    CheckoutCompleted,
    CheckoutFailed,
    CheckoutInitiated,
    ClearCart,
    CreateOrder,
    EmptyPayload,
    InventoryReserved,
    OrderCreated,
    Payload,
    PaymentProcessed,
    ProcessPayment,
    Refused,
    ReserveInventory,
)
from holdfast.contracts.steps import CART_STEP, INVENTORY_STEP, ORDER_STEP, PAYMENT_STEP, StepRow
from holdfast.saga.definition import SagaDefinition, Step, StepClass
from holdfast.saga.machine import Transition
from holdfast.saga.state import Decision, Event, SagaInstance


def handle_inventory_reservation_failed(transition: Transition) -> Decision:
    """Nothing was done yet, so nothing is undone: FAILED."""
    return transition.step_failed(INVENTORY_STEP.name)


def handle_payment_failed(transition: Transition) -> Decision:
    """Release the reservation: CompensateInventory."""
    return transition.step_failed(PAYMENT_STEP.name)


def handle_order_creation_failed(transition: Transition) -> Decision:
    """Refund the payment and release the reservation: CompensatePayment, CompensateInventory."""
    return transition.step_failed(ORDER_STEP.name)


def handle_cart_clearance_failed(transition: Transition) -> Decision:
    """Cancel the order, refund the payment, release the reservation."""
    return transition.step_failed(CART_STEP.name)


def _initiated(saga: SagaInstance) -> CheckoutInitiated:
    return decode_as(CheckoutInitiated, saga.data)


def _contradiction(saga: SagaInstance, event: Event) -> str:
    """Compare an answer with what was asked; if a saga was cancelled before its start, nothing was asked."""
    if saga.ended_ms and saga.version == 1:
        return ""
    if event.kind == CHECKOUT.started_by:
        return "" if event.raw == saga.data else "the checkout began with other contents"
    answer = event.payload
    if not isinstance(answer, InventoryReserved | PaymentProcessed | OrderCreated | CartCleared):
        return ""
    cart = _initiated(saga)
    asked: tuple[object, ...] = (cart.total_minor, cart.currency)
    match answer:
        case PaymentProcessed():
            answered: tuple[object, ...] = (answer.amount_minor, answer.currency)
        case OrderCreated():
            answered = (answer.total_minor, answer.currency)
        case InventoryReserved():
            asked, answered = (sum(line.quantity for line in cart.lines),), (answer.pieces,)
        case CartCleared():
            asked = (cart.cart_version, True)
            answered = (answer.cart_version, answer.version_left >= answer.cart_version)
    return "" if answered == asked else f"{answered} was answered, {asked} was asked"


def _reserve_inventory(saga: SagaInstance) -> ReserveInventory:
    cart = _initiated(saga)
    return ReserveInventory(lines=cart.lines, not_after_ms=cart.not_after_ms)


def _process_payment(saga: SagaInstance) -> ProcessPayment:
    cart = _initiated(saga)
    return ProcessPayment(
        user_id=cart.user_id,
        payment_method=cart.payment_method,
        amount_minor=cart.total_minor,
        currency=cart.currency,
        not_after_ms=cart.not_after_ms,
    )


def _create_order(saga: SagaInstance) -> CreateOrder:
    cart = _initiated(saga)
    return CreateOrder(
        user_id=cart.user_id,
        currency=cart.currency,
        total_minor=cart.total_minor,
        lines=cart.lines,
        not_after_ms=cart.not_after_ms,
    )


def _clear_cart(saga: SagaInstance) -> ClearCart:
    cart = _initiated(saga)
    return ClearCart(
        user_id=cart.user_id, cart_id=cart.cart_id, cart_version=cart.cart_version, lines=cart.lines
    )


def _completed(saga: SagaInstance) -> CheckoutCompleted:
    cart, results = _initiated(saga), dict(saga.results)
    return CheckoutCompleted(
        order_id=decode_as(OrderCreated, results[ORDER_STEP.name]).order_id,
        total_minor=cart.total_minor,
        currency=cart.currency,
        cart_version_left=decode_as(CartCleared, results[CART_STEP.name]).version_left,
        saga_version=saga.version,
    )


def _failed(saga: SagaInstance) -> CheckoutFailed:
    return CheckoutFailed(reason=saga.reason, detail=saga.detail, saga_version=saga.version)


def _refusal(event: Event) -> tuple[str, str]:
    refused: Refused = event.payload
    return refused.reason, refused.detail


def _step(row: StepRow, command: Callable[[SagaInstance], Payload]) -> Step:
    names = row.messages
    return Step(
        name=row.name,
        step_class=StepClass.COMPENSATABLE if row.undo else StepClass.PIVOT,
        pending=row.pending.state,
        finished=row.finished.state,
        do=names.do,
        done=names.done,
        command=command,
        failed=names.failed,
        undo=names.undo or None,
        undone=names.undone or None,
        confirm=names.confirm or None,
        keeps_result=row.keeps_result,
    )


CHECKOUT = SagaDefinition(
    name="checkout",
    version=1,
    started_by="CheckoutInitiated",
    initial="CHECKOUT_INITIATED",
    compensating="COMPENSATING",
    failed_state="FAILED",
    steps=(
        _step(INVENTORY_STEP, _reserve_inventory),
        _step(PAYMENT_STEP, _process_payment),
        _step(ORDER_STEP, _create_order),
        _step(CART_STEP, _clear_cart),
    ),
    reactions={
        INVENTORY_STEP.failed: handle_inventory_reservation_failed,
        PAYMENT_STEP.failed: handle_payment_failed,
        ORDER_STEP.failed: handle_order_creation_failed,
        CART_STEP.failed: handle_cart_clearance_failed,
    },
    completed_event="CheckoutCompleted",
    completed=_completed,
    failed_event="CheckoutFailed",
    failed=_failed,
    refusal=_refusal,
    empty_payload=EmptyPayload(),
    contradiction=_contradiction,
)
"""The checkout, version 1. A change that would treat a running saga differently needs a new version."""

VERSIONS = {CHECKOUT.version: CHECKOUT}
"""Every version that a running saga may have; a test replays recorded histories against each of them."""
