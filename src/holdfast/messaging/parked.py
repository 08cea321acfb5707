"""Records that could not be processed: position, reason, the operator's decision and its outcome.

The store keeps the rows; `dead_letters` acts on them.
"""

import re
from typing import NamedTuple, Self

from holdfast.bus.port import Record
from holdfast.contracts.card_numbers import holds_card_number, mask_card_numbers, mask_card_numbers_in

CARD_NUMBER = "card_number"
"""The reason of a record that could be processed if it did not hold a card number."""

MASKED = "x-masked"
"""The header of a record kept with its card number masked: its bytes are not those that were sent."""

_PLACE = re.compile(r"([A-Za-z0-9._-]{1,249})/([0-9]{1,9})/([0-9]{1,18})", re.ASCII)


class LogPosition(NamedTuple):
    """Where a record lies on the bus; written `topic/partition/offset`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what `str` writes; None if the text is something else."""
        found = _PLACE.fullmatch(text)
        return cls(found[1], int(found[2]), int(found[3])) if found else None


class ParkedRecord(NamedTuple):
    """A record that could not be processed, with its bytes. The store sets the fields after `attempts`."""

    record: Record
    reason: str
    detail: str
    message_id: str | None
    saga_id: str | None
    attempts: int = 1
    status: str = "parked"
    outcome: str | None = None
    first_ms: int = 0
    last_ms: int = 0

    @property
    def place(self) -> LogPosition:
        return LogPosition(self.record.topic, self.record.partition, self.record.offset)

    @property
    def is_masked(self) -> bool:
        """Tell whether the bytes are not those that were sent, so that they must not be processed again."""
        return MASKED in dict(self.record.headers)


class ParkedSummary(NamedTuple):
    """A parked record without its bytes.

    `status`: parked, redriven, discarded. `outcome`: of a redriven record processed, or None while it is
    unknown; of a parked record parked_again if it was redriven before. `source`: its proven publisher.
    """

    place: LogPosition
    status: str
    outcome: str | None
    reason: str
    detail: str
    message_id: str | None
    saga_id: str | None
    attempts: int
    first_ms: int
    last_ms: int
    size: int
    source: str | None


class DeadLetterFilter(NamedTuple):
    """Which parked records to find; an empty field matches all. An outcome not known yet is `unknown`."""

    status: str = ""
    topic: str = ""
    reason: str = ""
    saga_id: str = ""
    outcome: str = ""

    def takes(self, row: ParkedSummary) -> bool:
        """Tell whether the filter matches this record."""
        have = (row.status, row.place.topic, row.reason, row.saga_id, row.outcome or "unknown")
        return all(not want or want == has for want, has in zip(self, have, strict=True))


def holds_card(record: Record) -> bool:
    """Tell whether a card number is anywhere in a record: key, value or headers."""
    headers = (part for name, value in record.headers for part in (name.encode(), value))
    return holds_card_number(b":".join([record.key or b"", record.value or b"", *headers]))


def without_cards(row: ParkedRecord) -> ParkedRecord:
    """Return the row as it may be kept: card numbers masked, and a header on the record that says so.

    No hash of the card number is kept: trying all card numbers would find it from its hash.
    """
    message_id = row.message_id and mask_card_numbers(row.message_id)
    row = row._replace(detail=mask_card_numbers(row.detail), message_id=message_id)
    record = row.record
    if not holds_card(record):
        return row
    headers = tuple((mask_card_numbers(name), mask_card_numbers_in(value)) for name, value in record.headers)
    masked = record._replace(
        key=record.key and mask_card_numbers_in(record.key),
        value=record.value and mask_card_numbers_in(record.value),
        headers=(*headers, (MASKED, CARD_NUMBER.encode())),
    )
    return row._replace(record=masked)


def summary(row: ParkedRecord) -> ParkedSummary:
    """Return the row without its bytes."""
    return ParkedSummary(
        row.place,
        row.status,
        row.outcome,
        row.reason,
        row.detail,
        row.message_id,
        row.saga_id,
        row.attempts,
        row.first_ms,
        row.last_ms,
        len(row.record.value or b""),
        row.record.source,
    )
