"""Whom to suspect: lots that are halved until one message is alone, and starts that ended with the process.

Handling and parking are the consumer's; what is trouble and nobody's fault never gets here.
"""

from collections.abc import Collection, Sequence
from typing import Generic, NamedTuple, TypeVar

import structlog

from holdfast.bus.port import Record, TopicPartition
from holdfast.messaging.batch_processor import BatchProcessor
from holdfast.messaging.store import StoreUnavailable, Transaction

ONE_BY_ONE_FROM = 3
PARKED_FROM = 5

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=Transaction)


class RecordBatch(NamedTuple):
    """Records to try as a whole, and how often they failed so far.

    Where `deaths` is not 0, the process died of its one record so often: it is not to be tried again.
    `lock_wait_ms` bounds the wait for each lock, None as a session does by default.
    """

    records: Sequence[Record]
    failures: int = 0
    crash_count: int = 0
    lock_wait_ms: int | None = None

    def bisect(self) -> "tuple[RecordBatch, RecordBatch]":
        """Split, in order; one of these halves holds the culprit, unless only both together fail."""
        middle = len(self.records) // 2
        first, second = self.records[:middle], self.records[middle:]
        lot = self._replace(failures=self.failures + 1)
        return lot._replace(records=first), lot._replace(records=second)

    def halves_waiting(self, lock_wait_ms: int) -> "tuple[RecordBatch, RecordBatch]":
        """Split because a lock was in the way, which is nobody's failure."""
        first, second = self._replace(lock_wait_ms=lock_wait_ms).bisect()
        return first._replace(failures=self.failures), second._replace(failures=self.failures)

    def without(self, places: Collection[TopicPartition]) -> "RecordBatch":
        """Leave out what lies on these partitions."""
        return self._replace(records=[record for record in self.records if record.place not in places])


class CrashCounter(Generic[T]):
    """Counts, per partition, starts at an offset that were not survived; durable, since the process is not.

    Only the first batch after an assignment is counted, so that no other batch pays for it. A partition
    without records is never counted, or the first message after idle restarts would be suspected.
    """

    def __init__(self, processor: BatchProcessor[T]) -> None:
        self._processor = processor
        self._fresh: set[TopicPartition] = set()
        self._begun: dict[TopicPartition, int] = {}

    def assigned(self, places: Collection[TopicPartition]) -> None:
        """Count these when their first records are there."""
        self._fresh.update(places)

    def handled(self, records: Sequence[Record]) -> None:
        """Their partitions have moved on: what was counted there is over, even if the offsets go back."""
        if self._begun:
            self._take_back({record.place for record in records})

    def given_up(self, places: Collection[TopicPartition]) -> None:
        """These are others' now: trouble, not death, kept them from moving on."""
        self._fresh.difference_update(places)
        self._take_back(places)

    def _take_back(self, places: Collection[TopicPartition]) -> None:
        """Forget counts, as far as the database allows; the next that moves on makes up for it."""
        survived = sorted(_name(place) for place in places if self._begun.pop(place, None))
        if not survived:
            return
        try:
            with self._processor.store.transaction() as tx:
                tx.forget_starts(survived)
        except StoreUnavailable as error:
            log.warning("starts_not_taken_back", error=str(error), partitions=survived)

    def batches(self, records: Sequence[Record]) -> list[RecordBatch]:
        """Say what to try, the last first. Raises StoreUnavailable.

        The suspected partitions come after the others, one record at a time, always in the same order: so
        those before the one that kills move on, and of those that don't, the first is the one to blame.
        """
        self._count(records)
        suspected = sorted(
            {record.place for record in records if self._begun.get(record.place, 0) >= ONE_BY_ONE_FROM}
        )
        if not suspected:
            return [RecordBatch(records)]
        singly = [RecordBatch([record]) for place in suspected for record in records if record.place == place]
        if self._begun[suspected[0]] >= PARKED_FROM:
            singly[0] = singly[0]._replace(crash_count=self._begun[suspected[0]] - 1)
        return [*reversed(singly), RecordBatch(records).without(suspected)]

    def _count(self, records: Sequence[Record]) -> None:
        first: dict[TopicPartition, int] = {}
        if self._fresh:
            for record in records:
                if record.place in self._fresh:
                    first.setdefault(record.place, record.offset)
        if not first:
            return
        with self._processor.store.transaction() as tx:
            counts = {place: tx.count_start(_name(place), first[place]) for place in sorted(first)}
        self._begun |= counts
        self._fresh.difference_update(first)


def _name(place: TopicPartition) -> str:
    return f"{place.topic}:{place.partition}"
