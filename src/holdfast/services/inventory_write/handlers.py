"""inventory-write's step of the saga: the commands of `checkout.inventory-command`."""

from collections.abc import Sequence

from holdfast.contracts.messages import Payload, Refused, ReserveInventory
from holdfast.contracts.steps import INVENTORY_STEP
from holdfast.messaging.fence import Fence, Verb
from holdfast.messaging.participant import CommandWork, Done, StepResult
from holdfast.services.inventory_write.domain import StockBatch, pieces_of
from holdfast.services.inventory_write.store_port import InventoryTransaction

MESSAGES = INVENTORY_STEP.messages


class InventoryParticipant:
    """Reserves on do, releases on undo, sells on confirm."""

    messages = MESSAGES

    def load(self, tx: InventoryTransaction, work: Sequence[CommandWork]) -> StockBatch:
        skus: set[str] = set()
        held: set[str] = set()
        repeated: set[str] = set()
        for item in work:
            command = item.envelope.payload
            if isinstance(command, ReserveInventory) and item.fence is None:
                skus.update(line.sku for line in command.lines)
            elif item.fence is not None:
                (repeated if item.verb is Verb.DO else held).add(item.envelope.saga_id)
        reservations = tx.load_reservations(held | repeated) if held or repeated else {}
        for saga_id in held & reservations.keys():
            skus.update(sku for sku, _ in reservations[saga_id])
        return StockBatch(tx.lock_stock(skus) if skus else {}, reservations)

    def do(self, rows: StockBatch, saga_id: str, command: Payload) -> StepResult:
        assert isinstance(command, ReserveInventory)
        outcome = rows.reserve(saga_id, command.lines)
        return outcome if isinstance(outcome, Refused) else Done(outcome)

    def agrees(self, rows: StockBatch, command: Payload, fence: Fence) -> bool:
        assert isinstance(command, ReserveInventory)
        return rows.reservations.get(fence.saga_id, pieces_of(command.lines)) == pieces_of(command.lines)

    def undo(self, rows: StockBatch, saga_id: str) -> bool:
        rows.release(saga_id)
        return True

    def confirm(self, rows: StockBatch, saga_id: str) -> None:
        rows.sell(saga_id)

    def forget(self, rows: StockBatch, saga_id: str) -> None:
        raise AssertionError("a reservation is made at once and never pending")

    def save(self, tx: InventoryTransaction, rows: StockBatch) -> None:
        if rows.changed:
            tx.save_stock([rows.stock[sku] for sku in sorted(rows.changed)])
        if rows.movements:
            tx.insert_movements(rows.movements)
