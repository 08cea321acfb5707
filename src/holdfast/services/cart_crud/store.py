"""cart-crud's tables in PostgreSQL; statements stand in `sql/`."""

from collections.abc import Collection
from typing import Any

from holdfast.messaging.database import PostgresTransaction, statements
from holdfast.services.cart_crud.cart_edits import Price
from holdfast.services.cart_crud.domain import Cart, CartKey, Clearance

SQL = statements("holdfast.services.cart_crud")


class PostgresCartTransaction(PostgresTransaction):
    """Implements `store_port.CartServiceTransaction`, where each method is described."""

    def lock_carts(self, keys: Collection[CartKey]) -> dict[CartKey, Cart]:
        rows = self.read(SQL["lock_carts"], **_keys(keys))
        return {(row[0], row[1]): _cart(row) for row in rows}

    def save_carts(self, rows: Collection[Cart]) -> None:
        self.write(SQL["update_carts"], **_columns(rows))

    def cleared_by(self, saga_ids: Collection[str]) -> dict[str, int]:
        return dict(self.read(SQL["select_cleared"], saga_ids=list(saga_ids)))

    def insert_clearances(self, rows: Collection[Clearance]) -> None:
        taken = [(row.saga_id, *line) for row in rows for line in row.taken]
        self.write(
            SQL["insert_clearances"],
            saga_ids=[row.saga_id for row in rows],
            cart_ids=[row.cart_id for row in rows],
            user_ids=[row.user_id for row in rows],
            versions=[row.version_left for row in rows],
            line_sagas=[line[0] for line in taken],
            skus=[line[1] for line in taken],
            before=[line[2] for line in taken],
            removed=[line[3] for line in taken],
        )

    def read_prices(self, skus: Collection[str]) -> dict[str, Price]:
        return {row[0]: Price(*row) for row in self.read(SQL["select_prices"], skus=list(skus))}

    def list_prices(self, after: str, limit: int) -> list[Price]:
        return [Price(*row) for row in self.read(SQL["select_price_page"], after=after, limit=limit)]

    def save_prices(self, rows: Collection[Price]) -> None:
        self.write(
            SQL["upsert_prices"],
            skus=[row.sku for row in rows],
            prices=[row.price_minor for row in rows],
            currencies=[row.currency for row in rows],
        )

    def read_carts(self, keys: Collection[CartKey]) -> tuple[list[Cart], dict[str, Price]]:
        """Read carts and prices with one statement, so that both are from the same moment."""
        rows = self.read(SQL["select_carts"], **_keys(keys))
        carts = [_cart(row) for row in rows if row[3] is not None]
        prices = {row[0]: Price(row[0], row[2], row[1]) for row in rows if row[3] is None}
        return carts, prices

    def insert_carts(self, rows: Collection[Cart]) -> bool:
        return self.change(SQL["insert_carts"], **_columns(rows)) == len(rows)

    def cart_users(self, cart_id: str, limit: int) -> list[str]:
        return [row[0] for row in self.read(SQL["select_cart_users"], cart_id=cart_id, limit=limit)]

    def hold_cart(self, key: CartKey, reason: str) -> bool:
        cart_id, user_id = key
        return self.change(SQL["hold_cart"], cart_id=cart_id, user_id=user_id, reason=reason) == 1


def _cart(row: Any) -> Cart:
    return Cart(row[0], row[1], row[2], tuple(zip(row[3], row[4], strict=True)), row[5])


def _keys(keys: Collection[CartKey]) -> dict[str, list[str]]:
    return {"cart_ids": [cart_id for cart_id, _ in keys], "user_ids": [user_id for _, user_id in keys]}


def _columns(rows: Collection[Cart]) -> dict[str, list[Any]]:
    """Return carts as flat arrays; the statements join a line with its cart by the cart's number, from 1."""
    pieces = [(index, sku, count) for index, row in enumerate(rows, 1) for sku, count in row.pieces]
    return {
        **_keys([row.key for row in rows]),
        "versions": [row.version for row in rows],
        "line_places": [index for index, _, _ in pieces],
        "skus": [sku for _, sku, _ in pieces],
        "quantities": [count for _, _, count in pieces],
    }
