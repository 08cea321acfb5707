"""cart-crud's tables in memory: the twin of `store`."""

from collections.abc import Collection

from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.services.cart_crud.domain import Cart, Clearance


class MemoryCartTransaction(MemoryTransaction):
    """See `handlers.CartTransaction` for every promise."""

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
