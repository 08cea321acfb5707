"""order-create's step of the saga: the commands of `checkout.order-command`."""

from collections.abc import Sequence

from holdfast.contracts.codec import decode_as
from holdfast.contracts.messages import CreateOrder, OrderCreated, Payload, Refused
from holdfast.contracts.steps import ORDER_STEP
from holdfast.messaging.fence import Fence
from holdfast.messaging.participant import CommandWork, Done, StepResult
from holdfast.services.order_create.domain import OrderBatch
from holdfast.services.order_create.store_port import OrderTransaction

MESSAGES = ORDER_STEP.messages


class OrderParticipant:
    """Creates on do, cancels on undo, places on confirm."""

    messages = MESSAGES

    def __init__(self, total_max_minor: int) -> None:
        self._total_max_minor = total_max_minor

    def load(self, tx: OrderTransaction, work: Sequence[CommandWork]) -> OrderBatch:
        """Read nothing: the rules need only the fence row, which is already locked."""
        return OrderBatch(self._total_max_minor)

    def do(self, rows: OrderBatch, saga_id: str, command: Payload) -> StepResult:
        assert isinstance(command, CreateOrder)
        outcome = rows.create(saga_id, command)
        return outcome if isinstance(outcome, Refused) else Done(outcome)

    def agrees(self, rows: OrderBatch, command: Payload, fence: Fence) -> bool:
        assert isinstance(command, CreateOrder)
        if fence.reply_kind != MESSAGES.done:
            return True
        created = decode_as(OrderCreated, fence.reply)
        return (created.total_minor, created.currency) == (command.total_minor, command.currency)

    def undo(self, rows: OrderBatch, saga_id: str) -> bool:
        rows.settle(saga_id, "CANCELED")
        return True

    def confirm(self, rows: OrderBatch, saga_id: str) -> None:
        rows.settle(saga_id, "PLACED")

    def forget(self, rows: OrderBatch, saga_id: str) -> None:
        raise AssertionError("an order is written at once and never pending outside")

    def save(self, tx: OrderTransaction, rows: OrderBatch) -> None:
        if rows.created:
            tx.insert_orders(list(rows.created.values()))
        if rows.changed:
            tx.update_order_statuses(rows.changed)
