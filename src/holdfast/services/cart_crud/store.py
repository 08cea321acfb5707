"""cart-crud's tables in PostgreSQL; statements stand in `sql/`."""

from collections.abc import Collection
from typing import Any

from holdfast.messaging.database import PostgresTransaction, statements
from holdfast.services.cart_crud.domain import Cart, Clearance
from holdfast.services.cart_crud.editing import Price

SQL = statements("holdfast.services.cart_crud")


class PostgresCartTransaction(PostgresTransaction):
    """See `handlers.CartTransaction` and `store_port.ShopTransaction` for every promise."""

    def lock_carts(self, cart_ids: Collection[str]) -> dict[str, Cart]:
        rows = self.run(SQL["lock_carts"], cart_ids=list(cart_ids)).fetchall()
        return {row[0]: _cart(row) for row in rows}

    def save_carts(self, rows: Collection[Cart]) -> None:
        self.run(SQL["update_carts"], **_columns(rows))

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

    def read_prices(self, skus: Collection[str]) -> dict[str, Price]:
        return {row[0]: Price(*row) for row in self.run(SQL["select_prices"], skus=list(skus))}

    def list_prices(self, after: str, limit: int) -> list[Price]:
        return [Price(*row) for row in self.run(SQL["select_price_page"], after=after, limit=limit)]

    def save_prices(self, rows: Collection[Price]) -> None:
        self.run(
            SQL["upsert_prices"],
            skus=[row.sku for row in rows],
            prices=[row.price_minor for row in rows],
            currencies=[row.currency for row in rows],
        )

    def read_carts(self, owned: Collection[tuple[str, str]]) -> tuple[list[Cart], dict[str, Price]]:
        """Read both with one statement, which is one moment: rows of carts, then rows of prices."""
        rows = self.run(
            SQL["select_carts"],
            cart_ids=[cart_id for cart_id, _ in owned],
            user_ids=[user_id for _, user_id in owned],
        ).fetchall()
        carts = [_cart(row) for row in rows if row[3] is not None]
        prices = {row[0]: Price(row[0], row[2], row[1]) for row in rows if row[3] is None}
        return carts, prices

    def insert_carts(self, rows: Collection[Cart]) -> bool:
        columns = {**_columns(rows), "user_ids": [row.user_id for row in rows]}
        return self.run(SQL["insert_carts"], **columns).rowcount == len(rows)

    def hold_cart(self, cart_id: str, reason: str) -> bool:
        return self.run(SQL["hold_cart"], cart_id=cart_id, reason=reason).rowcount == 1


def _cart(row: Any) -> Cart:
    return Cart(row[0], row[1], row[2], tuple(zip(row[3], row[4], strict=True)), row[5])


def _columns(rows: Collection[Cart]) -> dict[str, list[Any]]:
    """Lay carts out flat: the statements fold their lines back, a row a cart."""
    pieces = [(row.cart_id, sku, count) for row in rows for sku, count in row.pieces]
    return {
        "cart_ids": [row.cart_id for row in rows],
        "versions": [row.version for row in rows],
        "line_carts": [cart_id for cart_id, _, _ in pieces],
        "skus": [sku for _, sku, _ in pieces],
        "quantities": [count for _, _, count in pieces],
    }
