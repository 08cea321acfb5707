"""cart-crud's tables in PostgreSQL; statements stand in `sql/`."""

from collections.abc import Collection

from holdfast.messaging.database import PostgresTransaction, statements
from holdfast.services.cart_crud.domain import Cart, Clearance

SQL = statements("holdfast.services.cart_crud")


class PostgresCartTransaction(PostgresTransaction):
    """See `handlers.CartTransaction` for every promise."""

    def lock_carts(self, cart_ids: Collection[str]) -> dict[str, Cart]:
        rows = self.run(SQL["lock_carts"], cart_ids=list(cart_ids)).fetchall()
        return {
            row[0]: Cart(row[0], row[1], row[2], tuple(zip(row[3], row[4], strict=True)), row[5])
            for row in rows
        }

    def save_carts(self, rows: Collection[Cart]) -> None:
        pieces = [(row.cart_id, sku, count) for row in rows for sku, count in row.pieces]
        self.run(
            SQL["update_carts"],
            cart_ids=[row.cart_id for row in rows],
            versions=[row.version for row in rows],
            line_carts=[cart_id for cart_id, _, _ in pieces],
            skus=[sku for _, sku, _ in pieces],
            quantities=[count for _, _, count in pieces],
        )

    def insert_clearances(self, rows: Collection[Clearance]) -> None:
        taken = [(row.saga_id, *line) for row in rows for line in row.taken]
        self.run(
            SQL["insert_clearances"],
            saga_ids=[row.saga_id for row in rows],
            cart_ids=[row.cart_id for row in rows],
            versions=[row.version_left for row in rows],
            line_sagas=[line[0] for line in taken],
            skus=[line[1] for line in taken],
            before=[line[2] for line in taken],
            removed=[line[3] for line in taken],
        )
