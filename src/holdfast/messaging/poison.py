"""How a bad message is found: by halving a batch that failed, and by counting starts that ended in a crash.

The consumer processes and parks. A transient failure never gets here: no message is at fault.
"""

from collections.abc import Collection, Sequence
from typing import Generic, NamedTuple, TypeVar

import structlog

from holdfast.bus.port import Record, TopicPartition
from holdfast.messaging.batch_processor import BatchProcessor
from holdfast.messaging.store import StoreUnavailable, Transaction
from holdfast.messaging.suspects import kind_of

ONE_BY_ONE_FROM = 3
PARKED_FROM = 5

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=Transaction)


class RecordBatch(NamedTuple):
    """Records to try together, and how often they have failed so far.

    `crash_count`: so many processes began with its one record and ended; unless it is 0, the record is parked
    and not tried again. `lock_wait_ms` bounds the wait for each lock; None: the session's own bound counts.
    """

    records: Sequence[Record]
    failures: int = 0
    crash_count: int = 0
    lock_wait_ms: int | None = None

    def bisect(self) -> "tuple[RecordBatch, RecordBatch]":
        """Split in two, in order: one half has the message that fails, unless only both together fail."""
        middle = len(self.records) // 2
        first, second = self.records[:middle], self.records[middle:]
        failed = self._replace(failures=self.failures + 1)
        return failed._replace(records=first), failed._replace(records=second)

    def halves_with_lock_wait(self, lock_wait_ms: int) -> "tuple[RecordBatch, RecordBatch]":
        """Split because a lock was held by another transaction; this counts as no failure of a message."""
        first, second = self._replace(lock_wait_ms=lock_wait_ms).bisect()
        return first._replace(failures=self.failures), second._replace(failures=self.failures)

    def by_kind(self, lock_wait_ms: int) -> "list[RecordBatch]":
        """Split by message type: if the database refuses what one type needs, the others need not wait.

        Not if that would reorder a saga's messages.
        """
        kinds: dict[bytes, list[Record]] = {}
        for record in self.records:
            kinds.setdefault(kind_of(record), []).append(record)
        keys = [key for records in kinds.values() for key in {record.key for record in records}]
        if len(set(keys)) < len(keys):
            return [self]
        return [self._replace(records=records, lock_wait_ms=lock_wait_ms) for records in kinds.values()]

    def without(self, partitions: Collection[TopicPartition]) -> "RecordBatch":
        """Leave out the records of these partitions."""
        return self._replace(records=[record for record in self.records if record.place not in partitions])


class CrashCounter(Generic[T]):
    """Counts per partition how often a process began at the same offset and ended; the counts are durable.

    Only the first batch after an assignment is counted, so that no other batch pays for it. A partition
    without records is never counted; otherwise the first message after idle restarts would be suspected.
    """

    def __init__(self, processor: BatchProcessor[T]) -> None:
        self._processor = processor
        self._uncounted: set[TopicPartition] = set()
        self._start_counts: dict[TopicPartition, int] = {}

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Count a start of these partitions as soon as their first records are read."""
        self._uncounted.update(partitions)

    def handled(self, records: Sequence[Record]) -> None:
        """Forget the counts of these records' partitions: they moved on, even if offsets go back later."""
        if self._start_counts:
            self._forget_counts({record.place for record in records})

    def released(self, partitions: Collection[TopicPartition]) -> None:
        """Forget the counts of partitions that are no longer ours: this process did not crash on them."""
        self._uncounted.difference_update(partitions)
        self._forget_counts(partitions)

    def _forget_counts(self, partitions: Collection[TopicPartition]) -> None:
        """Delete counts. If the database cannot, they stay until the next owner of a partition moves on."""
        survived = sorted(_name(each) for each in partitions if self._start_counts.pop(each, None))
        if not survived:
            return
        try:
            with self._processor.store.transaction() as tx:
                tx.forget_starts(survived)
        except StoreUnavailable as error:
            log.warning("starts_not_taken_back", error=str(error), partitions=survived)

    def batches(self, records: Sequence[Record]) -> list[RecordBatch]:
        """Return the batches to try, the last first. Raises StoreUnavailable.

        The suspected partitions come after the others, one record at a time, always in the same order: so
        those before the record that kills move on, and of those that do not, the first one has that record.
        """
        self._count(records)
        suspected = sorted(
            {record.place for record in records if self._start_counts.get(record.place, 0) >= ONE_BY_ONE_FROM}
        )
        if not suspected:
            return [RecordBatch(records)]
        singly = [RecordBatch([record]) for each in suspected for record in records if record.place == each]
        if self._start_counts[suspected[0]] >= PARKED_FROM:
            singly[0] = singly[0]._replace(crash_count=self._start_counts[suspected[0]] - 1)
        return [*reversed(singly), RecordBatch(records).without(suspected)]

    def _count(self, records: Sequence[Record]) -> None:
        first_offset: dict[TopicPartition, int] = {}
        if self._uncounted:
            for record in records:
                if record.place in self._uncounted:
                    first_offset.setdefault(record.place, record.offset)
        if not first_offset:
            return
        with self._processor.store.transaction() as tx:
            counts = {each: tx.count_start(_name(each), first_offset[each]) for each in sorted(first_offset)}
        self._start_counts |= counts
        self._uncounted.difference_update(first_offset)


def _name(where: TopicPartition) -> str:
    return f"{where.topic}:{where.partition}"
