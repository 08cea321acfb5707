"""What cart-crud needs from its database: carts, prices, operators' actions."""

from collections.abc import Collection
from typing import Protocol

from holdfast.messaging.store import Transaction
from holdfast.services.cart_crud.cart_edits import Price
from holdfast.services.cart_crud.domain import Cart, CartKey, Clearance


class CartTransaction(Transaction, Protocol):
    """The kernel's transaction and the carts."""

    def lock_carts(self, keys: Collection[CartKey]) -> dict[CartKey, Cart]:
        """Lock these carts in sorted order and return those that exist."""

    def save_carts(self, rows: Collection[Cart]) -> None:
        """Write version and pieces of carts that exist."""

    def cleared_by(self, saga_ids: Collection[str]) -> dict[str, int]:
        """Return the sagas among these that have cleared their cart, with the version that each left."""

    def insert_clearances(self, rows: Collection[Clearance]) -> None:
        """Append clearances; a second one of the same saga is an error."""


class CartServiceTransaction(CartTransaction, Protocol):
    """The handler's transaction, and what shoppers and operators need besides."""

    def read_prices(self, skus: Collection[str]) -> dict[str, Price]:
        """Return the prices of those codes that exist."""

    def list_prices(self, after: str, limit: int) -> list[Price]:
        """Return a page of the price list in the order of codes."""

    def save_prices(self, rows: Collection[Price]) -> None:
        """Insert or replace prices; each code may be in `rows` only once."""

    def read_carts(self, keys: Collection[CartKey]) -> tuple[list[Cart], dict[str, Price]]:
        """Return the carts that exist, and the prices of all their codes, from the same moment."""

    def insert_carts(self, rows: Collection[Cart]) -> bool:
        """Insert carts; return False if another transaction has inserted one of them meanwhile."""

    def cart_users(self, cart_id: str, limit: int) -> list[str]:
        """Return the first users, in sorted order, who have a cart of this id."""

    def hold_cart(self, key: CartKey, reason: str) -> bool:
        """Set the reason for which this cart is held, empty to release it; False if it does not exist."""
