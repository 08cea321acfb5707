"""The owner of a saga's checkout, and what the saga owes while it compensates: money and pieces. Pure.

The saga says which steps are owed; the checkout's data says how much each step holds.
"""

from typing import NamedTuple

from msgspec import Struct

from holdfast.contracts.codec import decode_as
from holdfast.contracts.messages import CheckoutInitiated
from holdfast.saga.state import SagaInstance
from holdfast.sagas.checkout import CHECKOUT


class Liabilities(NamedTuple):
    """Money to refund, pieces to release, an order to cancel; `steps` are those whose undo is awaited."""

    steps: tuple[str, ...] = ()
    amount_minor: int = 0
    currency: str = ""
    pieces: tuple[tuple[str, int], ...] = ()

    @property
    def pieces_in_all(self) -> int:
        """The number of pieces of all product codes."""
        return sum(count for _, count in self.pieces)


class _Owner(Struct):
    """The part of CheckoutInitiated that names the owner."""

    user_id: str


def owner(saga: SagaInstance) -> str | None:
    """Return the user whose checkout it is; None if it was cancelled before it began."""
    return decode_as(_Owner, saga.data).user_id if _began(saga) else None


def initiated(saga: SagaInstance) -> CheckoutInitiated | None:
    """Return the event that began the checkout; None if it was cancelled before, and for other sagas."""
    return decode_as(CheckoutInitiated, saga.data) if _began(saga) else None


def _began(saga: SagaInstance) -> bool:
    return saga.definition == CHECKOUT.name and not (saga.ended_ms and saga.version == 1)


def owed_by(saga: SagaInstance) -> Liabilities:
    """Return what is owed: the most that it can be, if it is not known whether a step was done."""
    checkout = initiated(saga)
    owed = Liabilities(saga.owed)
    if checkout is None:
        return owed
    if "payment" in saga.owed:
        owed = owed._replace(amount_minor=checkout.total_minor, currency=checkout.currency)
    if "inventory" in saga.owed:
        pieces: dict[str, int] = {}
        for line in checkout.lines:
            pieces[line.sku] = pieces.get(line.sku, 0) + line.quantity
        owed = owed._replace(pieces=tuple(sorted(pieces.items())))
    return owed
