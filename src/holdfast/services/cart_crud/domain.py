"""A cart, and what clearing removes from it. Pure.

A cart's version counts its changes. Clearing removes what the snapshot held and keeps what was added since.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from holdfast.contracts.messages import CartCleared, ClearCart, Refused

CartKey = tuple[str, str]
"""(cart id, user id): together they name a cart, because two users may choose the same cart id."""


class Cart(NamedTuple):
    """One shopper's cart; `held` is an operator's reason, empty if the cart is not held."""

    cart_id: str
    user_id: str
    version: int
    pieces: tuple[tuple[str, int], ...]
    held: str = ""

    @property
    def key(self) -> CartKey:
        return self.cart_id, self.user_id


class Clearance(NamedTuple):
    """What one saga removed from a cart: (code, pieces before, pieces removed), and the version after it."""

    saga_id: str
    cart_id: str
    user_id: str
    version_left: int
    taken: tuple[tuple[str, int, int], ...]


@dataclass
class CartBatch:
    """The carts that a batch of commands reads and changes.

    `cleared_by`: sagas that cleared their cart long ago, with the version that each left.
    """

    carts: dict[CartKey, Cart]
    cleared_by: Mapping[str, int] = field(default_factory=dict)
    clearances: list[Clearance] = field(default_factory=list)
    changed: set[CartKey] = field(default_factory=set)

    def clear(self, saga_id: str, command: ClearCart) -> CartCleared | Refused:
        """Subtract the snapshot's quantities; a cart that does not exist counts as cleared."""
        key = command.cart_id, command.user_id
        cart = self.carts.get(key)
        if cart is None:
            self.clearances.append(Clearance(saga_id, *key, command.cart_version, ()))
            return CartCleared(command.cart_version, command.cart_version)
        if cart.held:
            return Refused("cart_on_hold", f"an operator put the cart on hold: {cart.held}")
        bought = _sum((line.sku, line.quantity) for line in command.lines)
        before = dict(cart.pieces)
        taken = tuple(
            (sku, before.get(sku, 0), min(before.get(sku, 0), n)) for sku, n in sorted(bought.items())
        )
        left = tuple((sku, n - bought.get(sku, 0)) for sku, n in cart.pieces if n > bought.get(sku, 0))
        cleared = cart._replace(version=cart.version + 1, pieces=left)
        self.carts[key] = cleared
        self.changed.add(key)
        self.clearances.append(Clearance(saga_id, *key, cleared.version, taken))
        return CartCleared(cleared.version, command.cart_version)


def _sum(lines: Iterable[tuple[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for sku, pieces in lines:
        total[sku] = total.get(sku, 0) + pieces
    return total
