"""inventory-write's tables in PostgreSQL; statements stand in `sql/`."""

from collections.abc import Collection

from holdfast.messaging.database import PostgresTransaction, statements
from holdfast.services.inventory_write.domain import Movement, Stock

SQL = statements("holdfast.services.inventory_write")


class PostgresInventoryTransaction(PostgresTransaction):
    """Implements `handlers.StockTransaction`, where each method is described."""

    def load_reservations(self, saga_ids: Collection[str]) -> dict[str, tuple[tuple[str, int], ...]]:
        rows = self.read(SQL["select_reservations"], saga_ids=list(saga_ids))
        return {row[0]: tuple(zip(row[1], row[2], strict=True)) for row in rows}

    def lock_stock(self, skus: Collection[str]) -> dict[str, Stock]:
        rows = self.read(SQL["lock_stock"], skus=list(skus))
        return {row[0]: Stock(*row) for row in rows}

    def save_stock(self, rows: Collection[Stock]) -> None:
        self.write(
            SQL["update_stock"],
            skus=[row.sku for row in rows],
            on_hand=[row.on_hand for row in rows],
            reserved=[row.reserved for row in rows],
            sold=[row.sold for row in rows],
        )

    def insert_movements(self, rows: Collection[Movement]) -> None:
        """Send all movements as flat arrays; the statement makes one row of each movement."""
        pieces = [(n, sku, count) for n, row in enumerate(rows) for sku, count in row.pieces]
        self.write(
            SQL["insert_movements"],
            saga_ids=[row.saga_id for row in rows],
            directions=[row.direction for row in rows],
            numbers=[n for n, _, _ in pieces],
            skus=[sku for _, sku, _ in pieces],
            quantities=[count for _, _, count in pieces],
        )

    def set_initial_stock(self, rows: Collection[tuple[str, int]]) -> None:
        self.write(
            SQL["set_initial_stock"], skus=[sku for sku, _ in rows], pieces=[pieces for _, pieces in rows]
        )

    def list_stock(self, after: str, limit: int) -> list[Stock]:
        return [Stock(*row) for row in self.read(SQL["select_stock_page"], after=after, limit=limit)]
