"""The edits that a shopper may make to a cart, and what a cart costs. Pure.

Prices come only from the price list. A cart's version counts its changes; a repeated edit changes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from holdfast.contracts.http_api import Snapshot
from holdfast.contracts.messages import LINES_MAX, QUANTITY_MAX, Line
from holdfast.services.cart_crud.domain import Cart, CartKey

MISSING = "missing"
EMPTY = "empty"
UNKNOWN_PRODUCT = "unknown_product"
MIXED_CURRENCY = "mixed_currency"
TOO_MANY_LINES = "too_many_lines"
TOO_MANY_PIECES = "too_many_pieces"


class Price(NamedTuple):
    """What one piece of a code costs."""

    sku: str
    price_minor: int
    currency: str


class SetAll(NamedTuple):
    """Replace all lines: (code, pieces), in the shopper's order, codes possibly repeated."""

    lines: tuple[tuple[str, int], ...]


class SetOne(NamedTuple):
    """Set the pieces of one code."""

    sku: str
    pieces: int


class RemoveOne(NamedTuple):
    """Remove one code."""

    sku: str


Change = SetAll | SetOne | RemoveOne


class Edit(NamedTuple):
    """A user's change; if `if_version` is given, only for a cart at that version (0: any version)."""

    cart_id: str
    user_id: str
    change: Change
    if_version: int | None = None

    @property
    def key(self) -> CartKey:
        return self.cart_id, self.user_id


class LineMissing(NamedTuple):
    """The user has no such cart."""


class VersionChanged(NamedTuple):
    """The cart is at another version than the edit was made for."""

    version: int


class EditRefused(NamedTuple):
    """The edit is not possible: a code for programs, the field in question, a sentence for people."""

    code: str
    pointer: str
    detail: str


Refused = LineMissing | VersionChanged | EditRefused


def edit(cart: Cart | None, request: Edit, prices: Mapping[str, Price]) -> Cart | Refused:
    """Return the cart after the edit (the same one if nothing changes), or why it is refused."""
    change = request.change
    if cart is None and (request.if_version is not None or not isinstance(change, SetAll)):
        return LineMissing()
    if cart is not None and request.if_version and request.if_version != cart.version:
        return VersionChanged(cart.version)
    before = cart.pieces if cart else ()
    pieces = _changed(before, change, prices)
    if isinstance(pieces, EditRefused):
        return pieces
    if cart is None:
        return Cart(request.cart_id, request.user_id, 1, pieces)
    return cart if pieces == before else cart._replace(version=cart.version + 1, pieces=pieces)


def codes(change: Change) -> tuple[str, ...]:
    """Return the codes whose prices this change needs, besides the codes in the cart."""
    return tuple(sku for sku, _ in change.lines) if isinstance(change, SetAll) else (change.sku,)


def snapshot(cart: Cart, prices: Mapping[str, Price]) -> Snapshot:
    """Return the cart at these prices; `refused` says why, if it cannot be bought."""
    if not cart.pieces:
        return Snapshot(refused=EMPTY, version=cart.version)
    lines = tuple(Line(sku, n, prices[sku].price_minor) for sku, n in cart.pieces if sku in prices)
    currencies = {prices[line.sku].currency for line in lines}
    if len(lines) < len(cart.pieces):
        return Snapshot(refused=UNKNOWN_PRODUCT, version=cart.version, lines=lines)
    if len(currencies) > 1:
        return Snapshot(refused=MIXED_CURRENCY, version=cart.version, lines=lines)
    total = sum(line.quantity * line.unit_price_minor for line in lines)
    return Snapshot(version=cart.version, currency=currencies.pop(), total_minor=total, lines=lines)


_Pieces = tuple[tuple[str, int], ...]


def _changed(before: _Pieces, change: Change, prices: Mapping[str, Price]) -> _Pieces | EditRefused:
    if isinstance(change, RemoveOne):
        return tuple((sku, pieces) for sku, pieces in before if sku != change.sku)
    if isinstance(change, SetAll):
        return _summed(change.lines, prices)
    if change.sku not in prices:
        return EditRefused(UNKNOWN_PRODUCT, "", "there is no product with this code")
    after = {**dict(before), change.sku: change.pieces}
    if len(after) > LINES_MAX:
        return EditRefused(TOO_MANY_LINES, "", f"a cart has at most {LINES_MAX} lines")
    if len({prices[sku].currency for sku in after if sku in prices}) > 1:
        return EditRefused(MIXED_CURRENCY, "", "all products of a cart must have one currency")
    return tuple(after.items())


def _summed(lines: Sequence[tuple[str, int]], prices: Mapping[str, Price]) -> _Pieces | EditRefused:
    total: dict[str, int] = {}
    for index, (sku, pieces) in enumerate(lines):
        if sku not in prices:
            return EditRefused(UNKNOWN_PRODUCT, f"/lines/{index}/sku", "there is no product with this code")
        if prices[sku].currency != prices[lines[0][0]].currency:
            detail = "all products of a cart must have one currency"
            return EditRefused(MIXED_CURRENCY, f"/lines/{index}/sku", detail)
        total[sku] = total.get(sku, 0) + pieces
        if total[sku] > QUANTITY_MAX:
            detail = f"more than {QUANTITY_MAX} pieces of one code"
            return EditRefused(TOO_MANY_PIECES, f"/lines/{index}/quantity", detail)
        if len(total) > LINES_MAX:
            return EditRefused(TOO_MANY_LINES, f"/lines/{index}", f"a cart has at most {LINES_MAX} lines")
    return tuple(total.items())
