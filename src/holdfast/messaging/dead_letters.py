"""What operators do with parked records: look, send once more, give up; each act logged in its transaction.

An act touches only what is parked, so that it can be repeated after any interruption.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog

from holdfast.bus.port import RECORD_BYTES_MAX, Message
from holdfast.messaging.handler import Handled
from holdfast.messaging.parked import CARD_NUMBER, REDRIVEN_FROM, Parked, Place, Summary, Wanted
from holdfast.messaging.relay import Relay
from holdfast.messaging.store import OperatorAction, Transaction
from holdfast.messaging.unit_of_work import UnitOfWork

log = structlog.get_logger(__name__)

ROWS_PER_TRANSACTION = 10
"""Records may be of 1 MB each, and an outbox row holds all that one transaction sends."""


class Because(NamedTuple):
    """Who acts, and why."""

    operator: str
    reason: str


class Acted(NamedTuple):
    """What was done, and what was left as it is, with a word why: missing, redriven, discarded, too_large."""

    done: list[Place]
    skipped: list[tuple[Place, str]]


class DeadLetters:
    """A service's parked records. Safe from any thread; every method raises StoreUnavailable."""

    def __init__(self, unit_of_work: UnitOfWork[Any], relay: Relay) -> None:
        self.service = unit_of_work.service
        self._unit_of_work = unit_of_work
        self._relay = relay

    def find(self, wanted: Wanted, after: Place | None, limit: int) -> list[Summary]:
        """Return a page of parked records in the order of their places."""
        with self._unit_of_work.store.transaction() as tx:
            return list(tx.find_parked(wanted, after, limit))

    def show(self, place: Place) -> Parked | None:
        """Return one with its bytes."""
        with self._unit_of_work.store.transaction() as tx:
            return next(iter(tx.lock_parked([place])), None)

    def redrive(self, places: Sequence[Place], because: Because) -> Acted:
        """Send these once more, as they were, to where they were; what comes of it is noted at the row."""
        return self._act(places, because, "redriven")

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
                part, handled = _settle(tx, some, because, status)
                parts.append(part)
                return handled

            self._relay.submit(self._unit_of_work.commit(work))
            acted.done.extend(parts[-1].done)
            acted.skipped.extend(parts[-1].skipped)
        for place in acted.done:
            log.info("dead_letter_settled", place=str(place), status=status, operator=because.operator)
        return acted


def _settle(tx: Transaction, places: Sequence[Place], because: Because, status: str) -> tuple[Acted, Handled]:
    rows = {row.place: row for row in tx.lock_parked(places)}
    acted, handled = Acted([], []), Handled()
    for place in places:
        row = rows.get(place)
        letter = _again(row) if row and status == "redriven" else None
        if row is None:
            acted.skipped.append((place, "missing"))
        elif row.status != "parked":
            acted.skipped.append((place, row.status))
        elif letter is not None and row.is_masked:
            acted.skipped.append((place, CARD_NUMBER))
        elif letter is not None and letter.size > RECORD_BYTES_MAX:
            acted.skipped.append((place, "too_large"))
        else:
            acted.done.append(place)
            handled.messages.extend([letter] if letter else [])
    tx.settle_parked(acted.done, status)
    tx.record_actions(
        [
            OperatorAction(because.operator, f"dlq_{status}", str(place), because.reason)
            for place in acted.done
        ]
    )
    return acted, handled


def _again(row: Parked) -> Message:
    """Make the message that was parked, with one more header that says where."""
    headers = tuple(header for header in row.record.headers if header[0] != REDRIVEN_FROM)
    link = (REDRIVEN_FROM, str(row.place).encode())
    return Message(row.record.topic, row.record.key or b"", row.record.value, (*headers, link))
