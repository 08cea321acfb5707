"""What could not be processed: where it lay, why it is parked, what an operator decided and what came of it.

Keeping the rows is the store's, acting on them `dead_letters`'s.
"""

import re
from typing import NamedTuple, Self

from holdfast.bus.port import Record

_PLACE = re.compile(r"([A-Za-z0-9._-]{1,249})/([0-9]{1,9})/([0-9]{1,18})", re.ASCII)


class Place(NamedTuple):
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


class Parked(NamedTuple):
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
    def place(self) -> Place:
        return Place(self.record.topic, self.record.partition, self.record.offset)


class Summary(NamedTuple):
    """A parked record without its bytes.

    `status`: parked, redriven, discarded. `outcome` of a redriven one: processed, or None as long as it is
    not known; of a parked one: parked_again if it was redriven before. `source` published it, as proven.
    """

    place: Place
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


class Wanted(NamedTuple):
    """Which parked records; what is empty does not matter. An outcome that is not known yet is `unknown`."""

    status: str = ""
    topic: str = ""
    reason: str = ""
    saga_id: str = ""
    outcome: str = ""

    def takes(self, row: Summary) -> bool:
        """Tell whether this is one of them."""
        have = (row.status, row.place.topic, row.reason, row.saga_id, row.outcome or "unknown")
        return all(not want or want == has for want, has in zip(self, have, strict=True))


def summary(row: Parked) -> Summary:
    """Leave out the bytes."""
    return Summary(
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
