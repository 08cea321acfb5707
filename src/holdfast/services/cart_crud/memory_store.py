"""cart-crud's tables in memory, with the same behaviour as `store`."""

from collections.abc import Collection

from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.services.cart_crud.cart_edits import Price
from holdfast.services.cart_crud.domain import Cart, CartKey, Clearance


class MemoryCartTransaction(MemoryTransaction):
    """Implements `store_port.CartServiceTransaction`, where each method is described."""

    def lock_carts(self, keys: Collection[CartKey]) -> dict[CartKey, Cart]:
        carts = self.table("cart")
        return {key: carts[key] for key in keys if key in carts}

    def save_carts(self, rows: Collection[Cart]) -> None:
        for row in rows:
            self.table("cart")[row.key] = row

    def cleared_by(self, saga_ids: Collection[str]) -> dict[str, int]:
        clearances = self.table("clear_log")
        return {saga_id: clearances[saga_id].version_left for saga_id in saga_ids if saga_id in clearances}

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

    def read_carts(self, keys: Collection[CartKey]) -> tuple[list[Cart], dict[str, Price]]:
        carts = self.table("cart")
        found = [carts[key] for key in keys if key in carts]
        return found, self.read_prices({sku for cart in found for sku, _ in cart.pieces})

    def insert_carts(self, rows: Collection[Cart]) -> bool:
        new = [row for row in rows if row.key not in self.table("cart")]
        self.save_carts(new)
        return len(new) == len(rows)

    def cart_users(self, cart_id: str, limit: int) -> list[str]:
        return sorted(user_id for known_id, user_id in self.table("cart") if known_id == cart_id)[:limit]

    def hold_cart(self, key: CartKey, reason: str) -> bool:
        carts = self.table("cart")
        if key in carts:
            carts[key] = carts[key]._replace(held=reason)
        return key in carts
