"""inventory-write's step of the saga: the commands of `checkout.inventory-command`."""

from collections.abc import Collection, Sequence
from typing import Protocol

from holdfast.contracts.messages import Payload, Refused, ReserveInventory
from holdfast.contracts.steps import INVENTORY_STEP
from holdfast.messaging.fence import Fence, Verb
from holdfast.messaging.participant import CommandWork, Done, StepResult
from holdfast.messaging.store import Transaction
from holdfast.services.inventory_write.domain import Movement, Stock, StockBatch, pieces_of

MESSAGES = INVENTORY_STEP.messages


class InventoryTransaction(Transaction, Protocol):
    """The kernel's transaction and inventory's own tables."""

    def load_reservations(self, saga_ids: Collection[str]) -> dict[str, tuple[tuple[str, int], ...]]:
        """Return the pieces that these sagas reserved, by saga."""

    def lock_stock(self, skus: Collection[str]) -> dict[str, Stock]:
        """Lock these rows in sorted order and return them; unknown codes are left out."""

    def save_stock(self, rows: Collection[Stock]) -> None:
        """Write the pieces of each row."""

    def insert_movements(self, rows: Collection[Movement]) -> None:
        """Append movements; a second one of the same saga and direction is an error."""


class StockTransaction(InventoryTransaction, Protocol):
    """The handler's transaction, and what the operators' endpoints need besides."""

    def set_initial_stock(self, rows: Collection[tuple[str, int]]) -> None:
        """Set the initial pieces of codes; a known code's pieces on hand change by the difference."""

    def list_stock(self, after: str, limit: int) -> list[Stock]:
        """Return a page of stock in the order of codes."""


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
