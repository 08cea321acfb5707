"""cart-crud's tables in memory: the twin of `store`."""

from collections.abc import Collection

from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.services.cart_crud.domain import Cart, Clearance
from holdfast.services.cart_crud.editing import Price


class MemoryCartTransaction(MemoryTransaction):
    """See `handlers.CartTransaction` and `store_port.ShopTransaction` for every promise."""

    def lock_carts(self, cart_ids: Collection[str]) -> dict[str, Cart]:
        carts = self.table("cart")
        return {cart_id: carts[cart_id] for cart_id in cart_ids if cart_id in carts}

    def save_carts(self, rows: Collection[Cart]) -> None:
        for row in rows:
            self.table("cart")[row.cart_id] = row

    def insert_clearances(self, rows: Collection[Clearance]) -> None:
        clearances = self.table("clear_log")
        for row in rows:
            if row.saga_id in clearances:
                raise ValueError(f"{row.saga_id} already cleared its cart")
            clearances[row.saga_id] = row

    def read_prices(self, skus: Collection[str]) -> dict[str, Price]:
        prices = self.table("product")
        return {sku: prices[sku] for sku in skus if sku in prices}

    def list_prices(self, after: str, limit: int) -> list[Price]:
        return sorted(row for sku, row in self.table("product").items() if sku > after)[:limit]

    def save_prices(self, rows: Collection[Price]) -> None:
        for row in rows:
            self.table("product")[row.sku] = row

    def read_carts(self, owned: Collection[tuple[str, str]]) -> tuple[list[Cart], dict[str, Price]]:
        carts = self.table("cart")
        found = [carts[c] for c, user in owned if c in carts and carts[c].user_id == user]
        return found, self.read_prices({sku for cart in found for sku, _ in cart.pieces})

    def insert_carts(self, rows: Collection[Cart]) -> bool:
        new = [row for row in rows if row.cart_id not in self.table("cart")]
        self.save_carts(new)
        return len(new) == len(rows)

    def hold_cart(self, cart_id: str, reason: str) -> bool:
        carts = self.table("cart")
        if cart_id in carts:
            carts[cart_id] = carts[cart_id]._replace(held=reason)
        return cart_id in carts
