"""What operators do with parked records: find, show, redrive, discard; each act is logged in its transaction.

An act changes only rows with the status `parked`, so it can be repeated after any interruption. `redriver`
processes the redriven records.
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
"""Records may have 1 MB each, and a transaction reads all that it locks."""


class Actor(NamedTuple):
    """The operator who acts, and the reason."""

    operator: str
    reason: str


class DeadLetterResult(NamedTuple):
    """What was done, and what was left: missing, redriven, discarded or, if masked, card_number."""

    done: list[LogPosition]
    skipped: list[tuple[LogPosition, str]]


class DeadLetters:
    """A service's parked records. Safe from any thread; every method raises StoreUnavailable.

    The callback `redriven` tells the writer that there are records to process.
    """

    def __init__(self, processor: BatchProcessor[Any], redriven: Callable[[], None]) -> None:
        self.service = processor.service
        self._processor = processor
        self._redriven = redriven

    def find(self, wanted: DeadLetterFilter, after: LogPosition | None, limit: int) -> list[ParkedSummary]:
        """Return a page of parked records after `after`, in the order of their positions."""
        with self._processor.store.transaction() as tx:
            return list(tx.find_parked(wanted, after, limit))

    def show(self, place: LogPosition) -> ParkedRecord | None:
        """Return one record with its bytes, None if it is not there."""
        with self._processor.store.transaction() as tx:
            return next(iter(tx.lock_parked([place])), None)

    def redrive(self, places: Sequence[LogPosition], actor: Actor) -> DeadLetterResult:
        """Make the writer process these once more, unchanged; it notes the outcome in their rows."""
        result = self._act(places, actor, "redriven")
        self._redriven()
        return result

    def discard(self, places: Sequence[LogPosition], actor: Actor) -> DeadLetterResult:
        """Give these up; their bytes stay until retention deletes them."""
        return self._act(places, actor, "discarded")

    def _act(self, places: Sequence[LogPosition], actor: Actor, status: str) -> DeadLetterResult:
        result = DeadLetterResult([], [])
        unique = list(dict.fromkeys(places))
        for start in range(0, len(unique), ROWS_PER_TRANSACTION):
            some = unique[start : start + ROWS_PER_TRANSACTION]
            results: list[DeadLetterResult] = []

            def work(
                tx: Transaction, some: Sequence[LogPosition] = some, results: list[DeadLetterResult] = results
            ) -> HandlerResult:
                results.append(_settle(tx, some, actor, status))
                return HandlerResult()

            self._processor.commit(work)
            result.done.extend(results[-1].done)
            result.skipped.extend(results[-1].skipped)
        for place in result.done:
            log.info("dead_letter_settled", place=str(place), status=status, operator=actor.operator)
        return result


def _settle(tx: Transaction, places: Sequence[LogPosition], actor: Actor, status: str) -> DeadLetterResult:
    rows = {row.place: row for row in tx.lock_parked(places)}
    result = DeadLetterResult([], [])
    for place in places:
        row = rows.get(place)
        if row is None:
            result.skipped.append((place, "missing"))
        elif row.status != "parked":
            result.skipped.append((place, row.status))
        elif status == "redriven" and row.is_masked:
            result.skipped.append((place, CARD_NUMBER))
        else:
            result.done.append(place)
    tx.settle_parked(result.done, status)
    tx.record_actions(
        [OperatorAction(actor.operator, f"dlq_{status}", str(place), actor.reason) for place in result.done]
    )
    return result
