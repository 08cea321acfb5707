"""Records that were fetched and not given out yet: dealt fairly to the partitions, held back while paused.

No client and no waiting here.
"""

from collections import deque

from holdfast.bus.port import Record, TopicPartition


class Backlog:
    """A queue for each place; no place waits for the end of another's queue."""

    def __init__(self) -> None:
        self._queues: dict[TopicPartition, deque[Record]] = {}
        self._paused: frozenset[TopicPartition] = frozenset()
        self.bytes = 0

    def add(self, record: Record) -> None:
        """Append what came last from its place."""
        self._queues.setdefault(record.place, deque()).append(record)
        self.bytes += _size(record)

    def ready(self) -> int:
        """Return how many records may be given out."""
        return sum(len(queue) for place, queue in self._queues.items() if place not in self._paused)

    def take(self, count: int) -> list[Record]:
        """Remove and return up to `count` records that may be given out, dealt evenly to their places."""
        taken: list[Record] = []
        while open_places := [place for place in self._queues if place not in self._paused]:
            share = (count - len(taken)) // len(open_places)
            for place in open_places if share else open_places[: count - len(taken)]:
                queue = self._queues.pop(place)
                taken += [queue.popleft() for _ in range(min(max(share, 1), len(queue)))]
                if queue:
                    self._queues[place] = queue  # at the end: the next call begins with another place
            if len(taken) == count:
                break
        self.bytes -= sum(map(_size, taken))
        return taken

    def pause(self, places: frozenset[TopicPartition]) -> None:
        """Give out none of these until `resume`."""
        self._paused |= places

    def resume(self, places: frozenset[TopicPartition]) -> None:
        """Undo `pause`."""
        self._paused -= places

    def forget(self, places: frozenset[TopicPartition]) -> None:
        """Drop the records of these places: they will come again, or are another's."""
        for place in places:
            self.bytes -= sum(map(_size, self._queues.pop(place, ())))


def _size(record: Record) -> int:
    return len(record.value or b"")
