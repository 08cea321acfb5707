"""Serves calls to cart-crud in groups: one transaction for all edits, one statement for all reads.

It is synchronous and has no HTTP, so that a simulator can drive it. `api` makes the groups and the responses.
"""

from collections.abc import Sequence
from typing import NamedTuple

from holdfast.contracts.http_api import Snapshot
from holdfast.messaging.store import OperatorAction, Store, StoreUnavailable
from holdfast.services.cart_crud.cart_edits import MISSING, Edit, Price, Refused, codes, edit, snapshot
from holdfast.services.cart_crud.domain import Cart, CartKey
from holdfast.services.cart_crud.store_port import CartServiceTransaction

ROUNDS_MAX = 5
USERS_TOLD_MAX = 20
LOCK_WAIT_MS = 100
"""If a cart stays locked for longer, its group is halved until its edits are alone and delay no others."""

Priced = tuple[Cart, Snapshot]


class SeveralCarts(NamedTuple):
    """Several users have a cart of this id; these are the first of them."""

    users: tuple[str, ...]


class _Overtaken(Exception):
    """Another instance has just inserted a cart that we were inserting; the next round reads it."""


class CartService:
    """Functions on cart-crud's database that serve many callers at once. Raises StoreUnavailable."""

    def __init__(self, store: Store[CartServiceTransaction]) -> None:
        self._store = store

    def edit(self, edits: Sequence[Edit]) -> list[Priced | Refused]:
        """Make all edits in order in one transaction; each cart is locked, read and written once."""
        for _ in range(ROUNDS_MAX):
            try:
                return self._edit(edits)
            except _Overtaken:
                continue
        raise StoreUnavailable("others make the same carts faster than this can read them")

    def read(self, keys: Sequence[CartKey]) -> list[Priced | None]:
        """Return these carts at current prices; None if the user has no cart of that id."""
        with self._store.transaction() as tx:
            carts, prices = tx.read_carts(dict.fromkeys(keys))
        priced = {cart.key: (cart, snapshot(cart, prices)) for cart in carts}
        return [priced.get(key) for key in keys]

    def snapshots(self, keys: Sequence[CartKey]) -> list[Snapshot]:
        """Return what a checkout of each cart would buy, or why the cart cannot be bought."""
        return [found[1] if found else Snapshot(refused=MISSING) for found in self.read(keys)]

    def prices(self, after: str, limit: int) -> list[Price]:
        """Return a page of the price list."""
        with self._store.transaction() as tx:
            return tx.list_prices(after, limit)

    def set_prices(self, operator: str, prices: Sequence[Price]) -> None:
        """Set prices, each code at most once, and log the operator."""
        with self._store.transaction() as tx:
            tx.save_prices(prices)
            tx.record_actions([OperatorAction(operator, "set_prices", "product", f"{len(prices)} prices")])

    def hold(
        self, operator: str, cart_id: str, reason: str, *, held: bool, user_id: str | None = None
    ) -> CartKey | SeveralCarts | None:
        """Hold or release a cart, log why, and return its key; None if there is no such cart.

        Without a user it means the cart with this id, if there is only one.
        """
        with self._store.transaction() as tx:
            users = [user_id] if user_id is not None else tx.cart_users(cart_id, USERS_TOLD_MAX)
            if len(users) > 1:
                return SeveralCarts(tuple(users))
            if not users or not tx.hold_cart((cart_id, users[0]), reason if held else ""):
                return None
            action = "hold" if held else "release"
            tx.record_actions([OperatorAction(operator, action, f"{cart_id} of {users[0]}", reason)])
            return cart_id, users[0]

    def _edit(self, edits: Sequence[Edit]) -> list[Priced | Refused]:
        with self._store.transaction() as tx:
            tx.limit_lock_wait(LOCK_WAIT_MS)
            locked = tx.lock_carts({one.key for one in edits})
            skus = {sku for one in edits for sku in codes(one.change)}
            skus.update(sku for cart in locked.values() for sku, _ in cart.pieces)
            prices = tx.read_prices(skus)
            carts: dict[CartKey, Cart] = dict(locked)
            answers: list[Priced | Refused] = []
            for one in edits:
                after = edit(carts.get(one.key), one, prices)
                if isinstance(after, Cart):
                    carts[after.key] = after
                    answers.append((after, snapshot(after, prices)))
                else:
                    answers.append(after)
            self._save(tx, locked, carts)
        return answers

    def _save(
        self, tx: CartServiceTransaction, locked: dict[CartKey, Cart], carts: dict[CartKey, Cart]
    ) -> None:
        new = [cart for key, cart in carts.items() if key not in locked]
        changed = [cart for key, cart in carts.items() if cart is not locked.get(key, cart)]
        if changed:
            tx.save_carts(changed)
        if new and not tx.insert_carts(new):
            raise _Overtaken
