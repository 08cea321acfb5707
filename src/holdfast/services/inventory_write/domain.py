"""Stock, and how a saga changes it: reserve, release, sell. Pure.

Every change of stock is a movement, and a saga makes each movement at most once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from holdfast.contracts.messages import InventoryReserved, Line, Refused


class Stock(NamedTuple):
    """Pieces of one code; `initial` is always the sum of the other three."""

    sku: str
    initial: int
    on_hand: int
    reserved: int
    sold: int


class Movement(NamedTuple):
    """What one saga moved: pieces by code. `direction` is reserve, release or sell."""

    saga_id: str
    direction: str
    pieces: tuple[tuple[str, int], ...]


def pieces_of(lines: Iterable[Line]) -> tuple[tuple[str, int], ...]:
    """Return the pieces by code, in the order of codes."""
    total: dict[str, int] = {}
    for line in lines:
        total[line.sku] = total.get(line.sku, 0) + line.quantity
    return tuple(sorted(total.items()))


@dataclass
class StockBatch:
    """The rows that a batch of commands reads and changes."""

    stock: dict[str, Stock]
    reservations: dict[str, tuple[tuple[str, int], ...]]
    movements: list[Movement] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)

    def reserve(self, saga_id: str, lines: Iterable[Line]) -> InventoryReserved | Refused:
        """Reserve all pieces, or none of them."""
        reserved = pieces_of(lines)
        for sku, pieces in reserved:
            stock = self.stock.get(sku)
            if stock is None:
                return Refused("unknown_product", f"there is no product {sku}")
            if stock.on_hand < pieces:
                return Refused("out_of_stock", f"{sku}: {pieces} wanted, {stock.on_hand} left")
        for sku, pieces in reserved:
            stock = self.stock[sku]
            self._put(stock._replace(on_hand=stock.on_hand - pieces, reserved=stock.reserved + pieces))
        self.reservations[saga_id] = reserved
        self.movements.append(Movement(saga_id, "reserve", reserved))
        return InventoryReserved(sum(pieces for _, pieces in reserved))

    def release(self, saga_id: str) -> None:
        """Return the reserved pieces to the pieces on hand."""
        for sku, pieces in self.reservations[saga_id]:
            stock = self.stock[sku]
            self._put(stock._replace(on_hand=stock.on_hand + pieces, reserved=stock.reserved - pieces))
        self.movements.append(Movement(saga_id, "release", self.reservations[saga_id]))

    def sell(self, saga_id: str) -> None:
        """Turn a reservation into a sale."""
        for sku, pieces in self.reservations[saga_id]:
            stock = self.stock[sku]
            self._put(stock._replace(reserved=stock.reserved - pieces, sold=stock.sold + pieces))
        self.movements.append(Movement(saga_id, "sell", self.reservations[saga_id]))

    def _put(self, stock: Stock) -> None:
        self.stock[stock.sku] = stock
        self.changed.add(stock.sku)
