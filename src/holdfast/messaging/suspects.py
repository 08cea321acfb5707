"""Messages whose statements the database refuses even if they are alone; whose fault it is, time shows. Pure.

A refusal is trouble of the database until one message keeps being refused while others of its type succeed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from holdfast.bus.port import Record, TopicPartition

FAILURES_MIN = 3
"""How often a message must be refused alone before it can be to blame."""
TRIES_A_ROUND_MAX = 8
"""How many of them one round tries again, each alone: if a whole type is refused, others need the time."""


@dataclass
class _Suspicion:
    record: Record
    kind: bytes
    since_round: int
    failures: int = 0
    others_succeed: bool = False


class Suspects:
    """The suspects of one consumer. They are deferred records: nothing but their sagas waits for them."""

    def __init__(self) -> None:
        self._round = 0
        self._found: dict[tuple[TopicPartition, int], _Suspicion] = {}

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, record: Record) -> bool:
        return (record.place, record.offset) in self._found

    def begin_round(self) -> None:
        """Begin a round: what succeeded in the one in which a message was first refused exculpates nobody."""
        self._round += 1

    def refused(self, record: Record) -> int | None:
        """Count a refusal of this message alone; return how many there were if it is to blame, else None."""
        suspicion = self._found.pop((record.place, record.offset), None)
        suspicion = suspicion or _Suspicion(record, kind_of(record), self._round)
        suspicion.failures += 1
        self._found[record.place, record.offset] = suspicion  # at the end: the others are tried before it
        to_blame = suspicion.others_succeed and suspicion.failures >= FAILURES_MIN
        return suspicion.failures if to_blame else None

    def handled(self, records: Sequence[Record]) -> None:
        """Note that these succeeded, which speaks against suspects of their types.

        If a suspect succeeds, its type is no longer refused, and all others of it are ordinary again.
        """
        if not self._found:
            return
        kinds = {kind_of(record) for record in records}
        cleared = {kind_of(record) for record in records if record in self}
        self._found = {at: each for at, each in self._found.items() if each.kind not in cleared}
        for suspicion in self._found.values():
            suspicion.others_succeed |= suspicion.kind in kinds and suspicion.since_round < self._round

    def to_try(self) -> tuple[list[Record], list[Record]]:
        """Return those to try again now, each alone, the longest untried first; and those left for later."""
        records = [suspicion.record for suspicion in self._found.values()]
        return records[:TRIES_A_ROUND_MAX], records[TRIES_A_ROUND_MAX:]

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget the suspects of these partitions."""
        self._found = {at: each for at, each in self._found.items() if at[0] not in partitions}

    def remove(self, records: Sequence[Record]) -> None:
        """Forget these: they are processed or parked."""
        for record in records if self._found else ():
            self._found.pop((record.place, record.offset), None)


def kind_of(record: Record) -> bytes:
    """Return the message type that the record claims to have."""
    return dict(record.headers).get("ce_type", b"")
