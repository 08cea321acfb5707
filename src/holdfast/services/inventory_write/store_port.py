"""What inventory-write needs from its database: reservations, stock, and stock's operators."""

from collections.abc import Collection
from typing import Protocol

from holdfast.messaging.store import Transaction
from holdfast.services.inventory_write.domain import Movement, Stock


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
