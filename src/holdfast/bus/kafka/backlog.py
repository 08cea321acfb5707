"""Records that were fetched and not returned yet: partitions share the turns.

It knows no client and never waits.
"""

from collections import deque

from holdfast.bus.port import Record, TopicPartition


class Backlog:
    """A queue for each partition; no partition waits for the end of another's queue."""

    def __init__(self) -> None:
        self._queues: dict[TopicPartition, deque[Record]] = {}
        self.bytes = 0

    def add(self, record: Record) -> None:
        """Append the next record of its partition."""
        self._queues.setdefault(record.place, deque()).append(record)
        self.bytes += _size(record)

    def ready(self) -> int:
        """Return how many records `take` could return."""
        return sum(map(len, self._queues.values()))

    def take(self, count: int) -> list[Record]:
        """Remove and return up to `count` records, evenly from all partitions."""
        taken: list[Record] = []
        while open_places := list(self._queues):
            share = (count - len(taken)) // len(open_places)
            for place in open_places if share else open_places[: count - len(taken)]:
                queue = self._queues.pop(place)
                taken += [queue.popleft() for _ in range(min(max(share, 1), len(queue)))]
                if queue:
                    self._queues[place] = queue  # at the end: the next call begins with another partition
            if len(taken) == count:
                break
        self.bytes -= sum(map(_size, taken))
        return taken

    def forget(self, places: frozenset[TopicPartition]) -> None:
        """Drop the records of these partitions: they will come again, or belong to another member."""
        for place in places:
            self.bytes -= sum(map(_size, self._queues.pop(place, ())))


def _size(record: Record) -> int:
    return len(record.value or b"")
