"""cart-crud's step of the saga: the one command of `checkout.cart-command`, the pivot."""

from collections.abc import Sequence

from holdfast.contracts.codec import decode_as
from holdfast.contracts.messages import CartCleared, ClearCart, Payload, Refused
from holdfast.contracts.steps import CART_STEP
from holdfast.messaging.fence import Fence
from holdfast.messaging.participant import CommandWork, Done, StepResult
from holdfast.services.cart_crud.domain import CartBatch
from holdfast.services.cart_crud.store_port import CartTransaction

MESSAGES = CART_STEP.messages


class CartParticipant:
    """Clears the cart on do; it is the pivot, which has neither undo nor confirm."""

    messages = MESSAGES

    def load(self, tx: CartTransaction, work: Sequence[CommandWork]) -> CartBatch:
        new = {
            item.envelope.saga_id: item.envelope.payload
            for item in work
            if item.fence is None and isinstance(item.envelope.payload, ClearCart)
        }
        if not new:
            return CartBatch({})
        carts = tx.lock_carts({(command.cart_id, command.user_id) for command in new.values()})
        return CartBatch(carts, cleared_by=tx.cleared_by(new))

    def do(self, rows: CartBatch, saga_id: str, command: Payload) -> StepResult:
        """Clear the cart; a saga whose fence row was pruned since it did so is answered as it was then."""
        assert isinstance(command, ClearCart)
        if saga_id in rows.cleared_by:
            return Done(CartCleared(rows.cleared_by[saga_id], command.cart_version))
        outcome = rows.clear(saga_id, command)
        return outcome if isinstance(outcome, Refused) else Done(outcome)

    def agrees(self, rows: CartBatch, command: Payload, fence: Fence) -> bool:
        assert isinstance(command, ClearCart)
        if fence.reply_kind != MESSAGES.done:
            return True
        return decode_as(CartCleared, fence.reply).cart_version == command.cart_version

    def undo(self, rows: CartBatch, saga_id: str) -> bool:
        raise AssertionError("the pivot is never undone")

    def confirm(self, rows: CartBatch, saga_id: str) -> None:
        raise AssertionError("the pivot needs no confirmation")

    def forget(self, rows: CartBatch, saga_id: str) -> None:
        raise AssertionError("a cart is cleared at once and never pending")

    def save(self, tx: CartTransaction, rows: CartBatch) -> None:
        if rows.changed:
            tx.save_carts([rows.carts[key] for key in sorted(rows.changed)])
        if rows.clearances:
            tx.insert_clearances(rows.clearances)
