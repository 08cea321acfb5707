"""RETURN_ORDER: cancel the order, refund it, put the pieces back on the shelf.

Until the refund the return can be taken back; the refund is the pivot; then restocking is tried for ever.
"""

from holdfast.contracts.codec import decode_as
from holdfast.contracts.messages import (
    Currency,
    Lines,
    Minor,
    Name,
    Nothing,
    Payload,
    Reason,
    Refused,
    Version,
)
from holdfast.saga.definition import Saga, Step, StepClass
from holdfast.saga.machine import Turn
from holdfast.saga.state import Decision, Event, SagaState


class ReturnRequested(Payload, frozen=True):
    """A shopper wants to give an order back."""

    order_id: Name
    charge_id: Name
    amount_minor: Minor
    currency: Currency
    lines: Lines


class CancelOrder(Payload, frozen=True):
    order_id: Name


class RefundPayment(Payload, frozen=True):
    charge_id: Name
    amount_minor: Minor
    currency: Currency


class PaymentRefunded(Payload, frozen=True):
    refund_id: Name


class RestockItems(Payload, frozen=True):
    lines: Lines


class OrderReturned(Payload, frozen=True):
    """The final event of a return."""

    refund_id: Name
    saga_version: Version


class ReturnFailed(Payload, frozen=True):
    """The final event of a return that was refused or taken back."""

    reason: Reason
    saga_version: Version


def handle_return_requested(turn: Turn) -> Decision:
    return turn.start()


def handle_order_canceled(turn: Turn) -> Decision:
    return turn.step_done("order")


def handle_order_cancellation_failed(turn: Turn) -> Decision:
    return turn.step_failed("order")


def handle_order_reinstated(turn: Turn) -> Decision:
    return turn.step_undone("order")


def handle_payment_refunded(turn: Turn) -> Decision:
    return turn.step_done("refund")


def handle_refund_failed(turn: Turn) -> Decision:
    return turn.step_failed("refund")


def handle_items_restocked(turn: Turn) -> Decision:
    return turn.step_done("stock")


def _requested(saga: SagaState) -> ReturnRequested:
    return decode_as(ReturnRequested, saga.data)


def _cancel_order(saga: SagaState) -> CancelOrder:
    return CancelOrder(_requested(saga).order_id)


def _refund_payment(saga: SagaState) -> RefundPayment:
    wanted = _requested(saga)
    return RefundPayment(wanted.charge_id, wanted.amount_minor, wanted.currency)


def _restock_items(saga: SagaState) -> RestockItems:
    return RestockItems(_requested(saga).lines)


def _completed(saga: SagaState) -> OrderReturned:
    refunded = decode_as(PaymentRefunded, dict(saga.results)["refund"])
    return OrderReturned(refunded.refund_id, saga.version)


def _failed(saga: SagaState) -> ReturnFailed:
    return ReturnFailed(saga.reason, saga.version)


def _refusal(event: Event) -> tuple[str, str]:
    refused: Refused = event.payload
    return refused.reason, refused.detail


RETURN_ORDER = Saga(
    name="return_order",
    version=1,
    begins_with="ReturnRequested",
    initial="RETURN_REQUESTED",
    compensating="REINSTATING",
    failed_state="RETURN_FAILED",
    steps=(
        Step(
            name="order",
            step_class=StepClass.COMPENSATABLE,
            pending="ORDER_CANCELLATION_PENDING",
            finished="ORDER_CANCELED",
            do="CancelOrder",
            done="OrderCanceled",
            failed="OrderCancellationFailed",
            undo="ReinstateOrder",
            undone="OrderReinstated",
            confirm="ConfirmCancellation",
            command=_cancel_order,
        ),
        Step(
            name="refund",
            step_class=StepClass.PIVOT,
            pending="REFUND_PENDING",
            finished="REFUNDED",
            do="RefundPayment",
            done="PaymentRefunded",
            failed="RefundFailed",
            command=_refund_payment,
            keeps_result=True,
        ),
        Step(
            name="stock",
            step_class=StepClass.RETRIABLE,
            pending="RESTOCK_PENDING",
            finished="RETURNED",
            do="RestockItems",
            done="ItemsRestocked",
            command=_restock_items,
        ),
    ),
    reactions={
        "ReturnRequested": handle_return_requested,
        "OrderCanceled": handle_order_canceled,
        "OrderCancellationFailed": handle_order_cancellation_failed,
        "OrderReinstated": handle_order_reinstated,
        "PaymentRefunded": handle_payment_refunded,
        "RefundFailed": handle_refund_failed,
        "ItemsRestocked": handle_items_restocked,
    },
    completed_event="OrderReturned",
    completed=_completed,
    failed_event="ReturnFailed",
    failed=_failed,
    refusal=_refusal,
    nothing=Nothing(),
)
"""Returning an order, version 1."""
