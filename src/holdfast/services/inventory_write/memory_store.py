"""inventory-write's tables in memory, with the same behaviour as `store`."""

from collections.abc import Collection

from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.services.inventory_write.domain import Movement, Stock


class MemoryInventoryTransaction(MemoryTransaction):
    """Implements `handlers.InventoryTransaction`, where each method is described."""

    def load_reservations(self, saga_ids: Collection[str]) -> dict[str, tuple[tuple[str, int], ...]]:
        moves = self.table("stock_movement")
        return {s: moves[s, "reserve"].pieces for s in saga_ids if (s, "reserve") in moves}

    def lock_stock(self, skus: Collection[str]) -> dict[str, Stock]:
        stock = self.table("stock")
        return {sku: stock[sku] for sku in skus if sku in stock}

    def save_stock(self, rows: Collection[Stock]) -> None:
        for row in rows:
            self.table("stock")[row.sku] = row

    def insert_movements(self, rows: Collection[Movement]) -> None:
        moves = self.table("stock_movement")
        for row in rows:
            if (row.saga_id, row.direction) in moves:
                raise ValueError(f"{row.saga_id} already made its {row.direction}")
            moves[row.saga_id, row.direction] = row

    def set_initial_stock(self, rows: Collection[tuple[str, int]]) -> None:
        stock = self.table("stock")
        for sku, pieces in rows:
            before = stock.get(sku, Stock(sku, 0, 0, 0, 0))
            stock[sku] = before._replace(initial=pieces, on_hand=before.on_hand + pieces - before.initial)

    def list_stock(self, after: str, limit: int) -> list[Stock]:
        rows = sorted(row for sku, row in self.table("stock").items() if sku > after)
        return rows[:limit]
