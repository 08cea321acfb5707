"""Records that came while a consumer waited for something else, and those of partitions that are paused.

No client and no waiting here: only order, per partition.
"""

from collections import deque

from holdfast.bus.port import Record, TopicPartition


class Backlog:
    """A queue of records, each place in its order; those of paused places stay until they are resumed."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque()
        self._paused: frozenset[TopicPartition] = frozenset()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Record) -> None:
        """Append what came last."""
        self._records.append(record)

    def take(self, count: int) -> list[Record]:
        """Remove and return up to `count` records that may be given out."""
        if not self._paused:
            return [self._records.popleft() for _ in range(min(count, len(self._records)))]
        taken: list[Record] = []
        held: deque[Record] = deque()
        for record in self._records:
            fits = len(taken) < count and record.place not in self._paused
            (taken if fits else held).append(record)
        self._records = held
        return taken

    def pause(self, places: frozenset[TopicPartition]) -> None:
        """Give out none of these until `resume`."""
        self._paused |= places

    def resume(self, places: frozenset[TopicPartition]) -> None:
        """Undo `pause`."""
        self._paused -= places

    def forget(self, places: frozenset[TopicPartition]) -> None:
        """Drop the records of these places: they will come again, or are another's."""
        self._records = deque(record for record in self._records if record.place not in places)
