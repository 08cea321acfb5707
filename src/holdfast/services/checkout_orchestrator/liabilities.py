"""Whose checkout a saga is, and what it owes on its way back, in money and pieces. Pure.

How much each step holds is the checkout's own data; what is owed at all is the saga's.
"""

from typing import NamedTuple

from msgspec import Struct

from holdfast.contracts.codec import decode_as
from holdfast.contracts.messages import CheckoutInitiated
from holdfast.saga.state import SagaInstance
from holdfast.sagas.checkout import CHECKOUT


class Liabilities(NamedTuple):
    """Money to give back, pieces to release, an order to cancel; `steps` are those whose undo is awaited."""

    steps: tuple[str, ...] = ()
    amount_minor: int = 0
    currency: str = ""
    pieces: tuple[tuple[str, int], ...] = ()

    @property
    def pieces_in_all(self) -> int:
        """The pieces of all codes."""
        return sum(count for _, count in self.pieces)


class _Owner(Struct):
    """As much of what the checkout began with as says whose it is."""

    user_id: str


def owner(saga: SagaInstance) -> str | None:
    """Return the user whose checkout it is; None if it was cancelled before it began."""
    return decode_as(_Owner, saga.data).user_id if _began(saga) else None


def initiated(saga: SagaInstance) -> CheckoutInitiated | None:
    """Return what the checkout began with; None where it was cancelled unborn, and for other sagas."""
    return decode_as(CheckoutInitiated, saga.data) if _began(saga) else None


def _began(saga: SagaInstance) -> bool:
    return saga.definition == CHECKOUT.name and not (saga.ended_ms and saga.version == 1)


def owed_by(saga: SagaInstance) -> Liabilities:
    """Return what is owed: at most, where nobody knows whether the step was ever done."""
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
