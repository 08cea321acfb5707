"""RETURN_ORDER: cancel the order, refund it, put the pieces back into stock.

The return can be undone until the refund, which is the pivot; after it, restocking is tried for ever.
"""

from holdfast.contracts.codec import decode_as
from holdfast.contracts.messages import (
    Currency,
    EmptyPayload,
    Lines,
    Minor,
    Name,
    Payload,
    Reason,
    Refused,
    Version,
)
from holdfast.saga.definition import SagaDefinition, Step, StepClass
from holdfast.saga.state import Event, SagaInstance


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


def _requested(saga: SagaInstance) -> ReturnRequested:
    return decode_as(ReturnRequested, saga.data)


def _cancel_order(saga: SagaInstance) -> CancelOrder:
    return CancelOrder(_requested(saga).order_id)


def _refund_payment(saga: SagaInstance) -> RefundPayment:
    request = _requested(saga)
    return RefundPayment(request.charge_id, request.amount_minor, request.currency)


def _restock_items(saga: SagaInstance) -> RestockItems:
    return RestockItems(_requested(saga).lines)


def _completed(saga: SagaInstance) -> OrderReturned:
    refunded = decode_as(PaymentRefunded, dict(saga.results)["refund"])
    return OrderReturned(refunded.refund_id, saga.version)


def _failed(saga: SagaInstance) -> ReturnFailed:
    return ReturnFailed(saga.reason, saga.version)


def _refusal(event: Event) -> tuple[str, str]:
    refused: Refused = event.payload
    return refused.reason, refused.detail


RETURN_ORDER = SagaDefinition(
    name="return_order",
    version=1,
    started_by="ReturnRequested",
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
    completed_event="OrderReturned",
    completed=_completed,
    failed_event="ReturnFailed",
    failed=_failed,
    refusal=_refusal,
    empty_payload=EmptyPayload(),
)
"""Returning an order, version 1."""
