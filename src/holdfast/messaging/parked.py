"""What could not be processed: where it lay, why it is parked, what an operator decided and what came of it.

Keeping the rows is the store's, acting on them `dead_letters`'s.
"""

import re
from typing import NamedTuple, Self

from holdfast.bus.port import Record
from holdfast.contracts.card_numbers import holds_card_number, mask_card_numbers, mask_card_numbers_in

CARD_NUMBER = "card_number"
"""Why a record is parked that nothing but a card number in it keeps from being processed."""

MASKED = "x-masked"
"""The header of a record that is kept with a card number masked: its bytes are not what was sent."""

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
        """Read what `str` writes; None where it is something else."""
        found = _PLACE.fullmatch(text)
        return cls(found[1], int(found[2]), int(found[3])) if found else None


class ParkedRecord(NamedTuple):
    """A record that could not be processed, with its original bytes. All after `attempts` is the store's."""

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
        """Tell whether the bytes are not those that were sent, so that nobody may process them again."""
        return MASKED in dict(self.record.headers)


class ParkedSummary(NamedTuple):
    """A parked record without its bytes.

    `status`: parked, redriven, discarded. `outcome` of a redriven one: processed, or None as long as it is
    not known; of a parked one: parked_again if it was redriven before. `source` published it, as proven.
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
    """Which parked records; what is empty does not matter. An outcome that is not known yet is `unknown`."""

    status: str = ""
    topic: str = ""
    reason: str = ""
    saga_id: str = ""
    outcome: str = ""

    def takes(self, row: ParkedSummary) -> bool:
        """Tell whether this is one of them."""
        have = (row.status, row.place.topic, row.reason, row.saga_id, row.outcome or "unknown")
        return all(not want or want == has for want, has in zip(self, have, strict=True))


def holds_card(record: Record) -> bool:
    """Tell whether a card number stands anywhere in a record."""
    headers = (part for name, value in record.headers for part in (name.encode(), value))
    return holds_card_number(b":".join([record.key or b"", record.value or b"", *headers]))


def without_cards(row: ParkedRecord) -> ParkedRecord:
    """Return what may be kept of a row: card numbers masked, and a header that says so of the record.

    No hash of what stood there is kept: a card number is found from its hash by trying them all.
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
    """Leave out the bytes."""
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
