"""What operators do with parked records: look, redrive, give up; each act logged in its transaction.

An act touches only what is parked, so that it can be repeated after any interruption. Processing what was
redriven is `redriver`'s.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import structlog

from holdfast.messaging.batch_processor import BatchProcessor
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.parked import CARD_NUMBER, DeadLetterFilter, LogPosition, ParkedRecord, ParkedSummary
from holdfast.messaging.store import OperatorAction, Transaction

log = structlog.get_logger(__name__)

ROWS_PER_TRANSACTION = 10
"""Records may be of 1 MB each, and a transaction reads those that it locks."""


class Actor(NamedTuple):
    """Who acts, and why."""

    operator: str
    reason: str


class DeadLetterResult(NamedTuple):
    """What was done, and what was left as it is, with a word why: missing, redriven, discarded."""

    done: list[LogPosition]
    skipped: list[tuple[LogPosition, str]]


class DeadLetters:
    """A service's parked records. Safe from any thread; every method raises StoreUnavailable.

    `redriven` tells the writer that there is something to process.
    """

    def __init__(self, processor: BatchProcessor[Any], redriven: Callable[[], None]) -> None:
        self.service = processor.service
        self._processor = processor
        self._redriven = redriven

    def find(self, wanted: DeadLetterFilter, after: LogPosition | None, limit: int) -> list[ParkedSummary]:
        """Return a page of parked records in the order of their places."""
        with self._processor.store.transaction() as tx:
            return list(tx.find_parked(wanted, after, limit))

    def show(self, place: LogPosition) -> ParkedRecord | None:
        """Return one with its bytes."""
        with self._processor.store.transaction() as tx:
            return next(iter(tx.lock_parked([place])), None)

    def redrive(self, places: Sequence[LogPosition], because: Actor) -> DeadLetterResult:
        """Have the writer process these once more, as they were; what comes of it is noted at the row."""
        acted = self._act(places, because, "redriven")
        self._redriven()
        return acted

    def discard(self, places: Sequence[LogPosition], because: Actor) -> DeadLetterResult:
        """Give these up; their bytes stay until retention takes them."""
        return self._act(places, because, "discarded")

    def _act(self, places: Sequence[LogPosition], because: Actor, status: str) -> DeadLetterResult:
        acted = DeadLetterResult([], [])
        unique = list(dict.fromkeys(places))
        for start in range(0, len(unique), ROWS_PER_TRANSACTION):
            some = unique[start : start + ROWS_PER_TRANSACTION]
            parts: list[DeadLetterResult] = []

            def work(
                tx: Transaction, some: Sequence[LogPosition] = some, parts: list[DeadLetterResult] = parts
            ) -> HandlerResult:
                parts.append(_settle(tx, some, because, status))
                return HandlerResult()

            self._processor.commit(work)
            acted.done.extend(parts[-1].done)
            acted.skipped.extend(parts[-1].skipped)
        for place in acted.done:
            log.info("dead_letter_settled", place=str(place), status=status, operator=because.operator)
        return acted


def _settle(tx: Transaction, places: Sequence[LogPosition], because: Actor, status: str) -> DeadLetterResult:
    rows = {row.place: row for row in tx.lock_parked(places)}
    acted = DeadLetterResult([], [])
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
