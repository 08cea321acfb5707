"""Records that wait for rows which another transaction holds, so that all other messages flow on.

No offset passes a deferred record, and no later record of its saga overtakes it. Trying is the consumer's.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from holdfast.bus.port import Record, TopicPartition
from holdfast.messaging.backoff import backoff_ms
from holdfast.messaging.store import StoreUnavailable

SEARCH_WAIT_MS = 50
"""How long a part of a batch waits for a lock, once the whole batch has met one."""
RETRY_WAIT_MS = 200
"""How long deferred records wait together for a lock when they are tried again."""
SEARCHES_MAX = 20
"""So often a round waits for locks; what is not told apart by then is deferred together."""
RECORDS_MAX = 10_000
RETRY_BASE_MS = 100
RETRY_CAP_MS = 2_000


class DeferredRecords:
    """The records of one consumer that wait, by place and offset; all of them are tried again together."""

    def __init__(self, monotonic_ms: Callable[[], int], seed: str) -> None:
        self._monotonic_ms = monotonic_ms
        self._seed = seed
        self._records: dict[tuple[TopicPartition, int], Record] = {}
        self._blocked: set[bytes | None] = set()
        self._searches = 0
        self._tries = 0
        self._due_ms = 0

    def __len__(self) -> int:
        return len(self._records)

    def due_in_s(self) -> float:
        """Return how long it is until they are tried again."""
        return max(0, self._due_ms - self._monotonic_ms()) / 1000

    def begin_round(self) -> list[Record]:
        """Return what is to be tried again now, in order; if nothing is, block its sagas for the round."""
        self._searches = 0
        if self._records and self._monotonic_ms() < self._due_ms:
            self._blocked = {record.key for record in self._records.values()}
            return []
        self._blocked = set()
        return [self._records[at] for at in sorted(self._records)]

    def end_round(self) -> None:
        """Say when to try again what is left."""
        if not self._records:
            self._tries = 0
        elif self._monotonic_ms() >= self._due_ms:
            self._tries += 1
            wait_ms = backoff_ms(self._tries, RETRY_BASE_MS, RETRY_CAP_MS, self._seed)
            self._due_ms = self._monotonic_ms() + wait_ms

    def may_search(self) -> bool:
        """Count one more wait for a lock; False if the round has waited often enough."""
        self._searches += 1
        return self._searches <= SEARCHES_MAX

    def add(self, records: Sequence[Record]) -> None:
        """Defer these, and for this round all that follows of their sagas.

        Raises StoreUnavailable if there are too many: then the consumer must read them again later.
        """
        self._records |= {(record.place, record.offset): record for record in records}
        self._blocked.update(record.key for record in records)
        if len(self._records) > RECORDS_MAX:
            raise StoreUnavailable(f"more than {RECORDS_MAX} messages wait for rows that others hold")

    def pass_over(self, records: Sequence[Record]) -> list[Record]:
        """Defer those whose saga is blocked; return the others."""
        behind = [record for record in records if record.key in self._blocked]
        if not behind:
            return list(records)
        self.add(behind)
        return [record for record in records if record.key not in self._blocked]

    def remove(self, records: Sequence[Record]) -> None:
        """These are processed."""
        if self._records:
            for record in records:
                self._records.pop((record.place, record.offset), None)

    def drop(self, places: Collection[TopicPartition]) -> None:
        """Forget these partitions: they are another member's, or are read again from the committed offset."""
        self._records = {at: record for at, record in self._records.items() if at[0] not in places}

    def places(self) -> frozenset[TopicPartition]:
        """Return the partitions that have deferred records."""
        return frozenset(place for place, _ in self._records)

    def hold_back(self, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Return these offsets, none of them past a deferred record."""
        held = dict(offsets)
        for place, offset in self._records:
            if place in held:
                held[place] = min(held[place], offset)
        return held
