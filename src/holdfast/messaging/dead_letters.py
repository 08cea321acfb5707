"""What operators do with parked records: look, redrive, give up; each act logged in its transaction.

An act touches only what is parked, so that it can be repeated after any interruption. Processing what was
redriven is `redriver`'s.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import structlog

from holdfast.messaging.handler import Handled
from holdfast.messaging.parked import CARD_NUMBER, Parked, Place, Summary, Wanted
from holdfast.messaging.store import OperatorAction, Transaction
from holdfast.messaging.unit_of_work import UnitOfWork

log = structlog.get_logger(__name__)

ROWS_PER_TRANSACTION = 10
"""Records may be of 1 MB each, and a transaction reads those that it locks."""


class Because(NamedTuple):
    """Who acts, and why."""

    operator: str
    reason: str


class Acted(NamedTuple):
    """What was done, and what was left as it is, with a word why: missing, redriven, discarded."""

    done: list[Place]
    skipped: list[tuple[Place, str]]


class DeadLetters:
    """A service's parked records. Safe from any thread; every method raises StoreUnavailable.

    `redriven` tells the writer that there is something to process.
    """

    def __init__(self, unit_of_work: UnitOfWork[Any], redriven: Callable[[], None]) -> None:
        self.service = unit_of_work.service
        self._unit_of_work = unit_of_work
        self._redriven = redriven

    def find(self, wanted: Wanted, after: Place | None, limit: int) -> list[Summary]:
        """Return a page of parked records in the order of their places."""
        with self._unit_of_work.store.transaction() as tx:
            return list(tx.find_parked(wanted, after, limit))

    def show(self, place: Place) -> Parked | None:
        """Return one with its bytes."""
        with self._unit_of_work.store.transaction() as tx:
            return next(iter(tx.lock_parked([place])), None)

    def redrive(self, places: Sequence[Place], because: Because) -> Acted:
        """Have the writer process these once more, as they were; what comes of it is noted at the row."""
        acted = self._act(places, because, "redriven")
        self._redriven()
        return acted

    def discard(self, places: Sequence[Place], because: Because) -> Acted:
        """Give these up; their bytes stay until retention takes them."""
        return self._act(places, because, "discarded")

    def _act(self, places: Sequence[Place], because: Because, status: str) -> Acted:
        acted = Acted([], [])
        unique = list(dict.fromkeys(places))
        for start in range(0, len(unique), ROWS_PER_TRANSACTION):
            some = unique[start : start + ROWS_PER_TRANSACTION]
            parts: list[Acted] = []

            def work(tx: Transaction, some: Sequence[Place] = some, parts: list[Acted] = parts) -> Handled:
                parts.append(_settle(tx, some, because, status))
                return Handled()

            self._unit_of_work.commit(work)
            acted.done.extend(parts[-1].done)
            acted.skipped.extend(parts[-1].skipped)
        for place in acted.done:
            log.info("dead_letter_settled", place=str(place), status=status, operator=because.operator)
        return acted


def _settle(tx: Transaction, places: Sequence[Place], because: Because, status: str) -> Acted:
    rows = {row.place: row for row in tx.lock_parked(places)}
    acted = Acted([], [])
    for place in places:
        row = rows.get(place)
        if row is None:
            acted.skipped.append((place, "missing"))
        elif row.status != "parked":
            acted.skipped.append((place, row.status))
        elif status == "redriven" and row.is_masked:
            acted.skipped.append((place, CARD_NUMBER))
        else:
            acted.done.append(place)
    tx.settle_parked(acted.done, status)
    tx.record_actions(
        [
            OperatorAction(because.operator, f"dlq_{status}", str(place), because.reason)
            for place in acted.done
        ]
    )
    return acted
