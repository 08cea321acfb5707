"""What cart-crud does for its callers, in groups: one transaction for all edits, one statement for all reads.

Synchronous and without HTTP, so that a simulator can drive it; grouping and answering belong to `api`.
"""

from collections.abc import Sequence

from holdfast.contracts.http_api import Snapshot
from holdfast.messaging.store import OperatorAction, Store, StoreUnavailable
from holdfast.services.cart_crud.domain import Cart
from holdfast.services.cart_crud.editing import (
    MISSING,
    Edit,
    Price,
    Refused,
    codes,
    edit,
    snapshot,
)
from holdfast.services.cart_crud.store_port import ShopTransaction

ROUNDS_MAX = 5
LOCK_WAIT_MS = 100
"""A cart that another transaction holds for longer is told apart from its group, which waits behind it."""

Priced = tuple[Cart, Snapshot]


class _Overtaken(Exception):
    """Another instance has just made a cart that we were making; the next round sees it."""


class Shop:
    """The shop's database behind functions that serve many callers at once. Raises StoreUnavailable."""

    def __init__(self, store: Store[ShopTransaction]) -> None:
        self._store = store

    def edit(self, edits: Sequence[Edit]) -> list[Priced | Refused]:
        """Make all edits, in order, in one transaction; each cart is locked, read and written once."""
        for _ in range(ROUNDS_MAX):
            try:
                return self._edit(edits)
            except _Overtaken:
                continue
        raise StoreUnavailable("others make the same carts faster than this can read them")

    def read(self, owned: Sequence[tuple[str, str]]) -> list[Priced | None]:
        """Return the carts of these (cart id, user id) at today's prices; None for missing and foreign."""
        with self._store.transaction() as tx:
            carts, prices = tx.read_carts(dict.fromkeys(owned))
        priced = {(cart.cart_id, cart.user_id): (cart, snapshot(cart, prices)) for cart in carts}
        return [priced.get(pair) for pair in owned]

    def snapshots(self, owned: Sequence[tuple[str, str]]) -> list[Snapshot]:
        """Return what each of these carts would be bought as, or why it cannot be."""
        return [found[1] if found else Snapshot(refused=MISSING) for found in self.read(owned)]

    def prices(self, after: str, limit: int) -> list[Price]:
        """Return a page of the price list."""
        with self._store.transaction() as tx:
            return tx.list_prices(after, limit)

    def set_prices(self, operator: str, prices: Sequence[Price]) -> None:
        """Set prices, each code at most once, and log that this operator did."""
        with self._store.transaction() as tx:
            tx.save_prices(prices)
            tx.record_actions([OperatorAction(operator, "set_prices", "product", f"{len(prices)} prices")])

    def hold(self, operator: str, cart_id: str, reason: str, *, held: bool) -> bool:
        """Hold or release a cart and log why; False where there is no such cart."""
        with self._store.transaction() as tx:
            found = tx.hold_cart(cart_id, reason if held else "")
            if found:
                action = "hold" if held else "release"
                tx.record_actions([OperatorAction(operator, action, cart_id, reason)])
            return found

    def _edit(self, edits: Sequence[Edit]) -> list[Priced | Refused]:
        with self._store.transaction() as tx:
            tx.limit_lock_wait(LOCK_WAIT_MS)
            locked = tx.lock_carts({wanted.cart_id for wanted in edits})
            skus = {sku for wanted in edits for sku in codes(wanted.change)}
            skus.update(sku for cart in locked.values() for sku, _ in cart.pieces)
            prices = tx.read_prices(skus)
            carts: dict[str, Cart] = dict(locked)
            answers: list[Priced | Refused] = []
            for wanted in edits:
                after = edit(carts.get(wanted.cart_id), wanted, prices)
                if isinstance(after, Cart):
                    carts[after.cart_id] = after
                    answers.append((after, snapshot(after, prices)))
                else:
                    answers.append(after)
            self._save(tx, locked, carts)
        return answers

    def _save(self, tx: ShopTransaction, locked: dict[str, Cart], carts: dict[str, Cart]) -> None:
        new = [cart for cart_id, cart in carts.items() if cart_id not in locked]
        changed = [cart for cart_id, cart in carts.items() if cart is not locked.get(cart_id, cart)]
        if changed:
            tx.save_carts(changed)
        if new and not tx.insert_carts(new):
            raise _Overtaken
