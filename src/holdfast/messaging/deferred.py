"""Records that wait while all others are processed: for rows that another transaction holds, or as suspects.

No offset passes a deferred record, and no later record of its saga overtakes it. The consumer tries again.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from holdfast.bus.port import Record, TopicPartition
from holdfast.messaging.backoff import backoff_ms
from holdfast.messaging.store import StoreUnavailable
from holdfast.messaging.suspects import Suspects

SEARCH_WAIT_MS = 50
"""How long a part of a batch waits for a lock, once the whole batch has met one."""
RETRY_WAIT_MS = 200
"""How long deferred records wait together for a lock when they are tried again."""
SEARCHES_MAX = 20
"""How often one round waits for locks while it halves a batch; what is left then is deferred as a whole."""
RECORDS_MAX = 10_000
RETRY_BASE_MS = 100
RETRY_CAP_MS = 2_000


class DeferredRecords:
    """The deferred records of one consumer, by partition and offset; all are tried again together."""

    def __init__(self, monotonic_ms: Callable[[], int], seed: str) -> None:
        self._monotonic_ms = monotonic_ms
        self._seed = seed
        self._records: dict[tuple[TopicPartition, int], Record] = {}
        self._blocked: set[bytes | None] = set()
        self.suspects = Suspects()
        self._searches = 0
        self._tries = 0
        self._due_ms = 0

    def __len__(self) -> int:
        return len(self._records)

    def due_in_s(self) -> float:
        """Return how many seconds remain until they are tried again."""
        return max(0, self._due_ms - self._monotonic_ms()) / 1000

    def begin_round(self) -> list[Record]:
        """Return the records to try again now, in order; if it is too early, block their sagas this round."""
        self._searches = 0
        self.suspects.begin_round()
        if self._records and self._monotonic_ms() < self._due_ms:
            self._blocked = {record.key for record in self._records.values()}
            return []
        self._blocked = set()
        return [self._records[at] for at in sorted(self._records)]

    def end_round(self) -> None:
        """Set when to try again the records that are left."""
        if not self._records:
            self._tries = 0
        elif self._monotonic_ms() >= self._due_ms:
            self._tries += 1
            wait_ms = backoff_ms(self._tries, RETRY_BASE_MS, RETRY_CAP_MS, self._seed)
            self._due_ms = self._monotonic_ms() + wait_ms

    def may_search(self) -> bool:
        """Count one more wait for a lock; return False after SEARCHES_MAX in this round."""
        self._searches += 1
        return self._searches <= SEARCHES_MAX

    def add(self, records: Sequence[Record]) -> None:
        """Defer these records, and for this round all later ones of their sagas.

        Raises StoreUnavailable above RECORDS_MAX: then the consumer must read them again later.
        """
        self._records |= {(record.place, record.offset): record for record in records}
        self._blocked.update(record.key for record in records)
        if len(self._records) > RECORDS_MAX:
            raise StoreUnavailable(f"more than {RECORDS_MAX} messages wait for rows that others hold")

    def split_suspects(self, retried: Sequence[Record]) -> tuple[list[Record], list[Record]]:
        """Return the suspects to try now, each alone, and what may be tried together after them.

        The sagas of the suspects that are left for a later round are blocked in this one.
        """
        alone, left = self.suspects.to_try()
        self._blocked.update(record.key for record in left)
        return alone, [record for record in retried if record not in self.suspects]

    def refused(self, records: Sequence[Record]) -> int | None:
        """Count a refusal of a message that was alone; return how many there were if it is to blame."""
        return self.suspects.refused(records[0]) if len(records) == 1 else None

    def pass_over(self, records: Sequence[Record]) -> list[Record]:
        """Defer the records whose saga is blocked; return the others."""
        behind = [record for record in records if record.key in self._blocked]
        if not behind:
            return list(records)
        self.add(behind)
        return [record for record in records if record.key not in self._blocked]

    def remove(self, records: Sequence[Record]) -> None:
        """Remove records that are processed."""
        if self._records:
            for record in records:
                self._records.pop((record.place, record.offset), None)
        self.suspects.remove(records)

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget these partitions: another member owns them, or they are read again from their offset."""
        self._records = {at: record for at, record in self._records.items() if at[0] not in partitions}
        self.suspects.drop(partitions)

    def places(self) -> frozenset[TopicPartition]:
        """Return the partitions that have deferred records."""
        return frozenset(partition for partition, _ in self._records)

    def hold_back(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return these offsets, each lowered to the first deferred record of its partition."""
        held = dict(offsets)
        for partition, offset in self._records:
            if partition in held:
                held[partition] = min(held[partition], offset)
        return held
