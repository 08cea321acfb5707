"""The owner of a saga's checkout, and what the saga owes while it compensates: money and pieces. Pure.

The saga says which steps are owed; the checkout's data says how much each step holds.
"""

from collections import Counter

from msgspec import Struct

from holdfast.contracts.codec import decode_as
from holdfast.contracts.messages import CheckoutInitiated
from holdfast.contracts.steps import owed_by_steps
from holdfast.saga.state import SagaInstance
from holdfast.sagas.checkout import CHECKOUT


class Liabilities(Struct, frozen=True):
    """Steps whose undo is awaited, with the most money and pieces (by product code) that they may hold."""

    steps: tuple[str, ...]
    amount_minor: int = 0
    currency: str = ""
    pieces: dict[str, int] = {}


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
    if checkout is None:
        return Liabilities(saga.owed)
    owed = owed_by_steps(saga.owed)
    money = (checkout.total_minor, checkout.currency) if any(each.money for each in owed) else (0, "")
    pieces: Counter[str] = Counter()
    if any(each.pieces for each in owed):
        for line in sorted(checkout.lines, key=lambda line: line.sku):
            pieces[line.sku] += line.quantity
    return Liabilities(saga.owed, *money, pieces)
