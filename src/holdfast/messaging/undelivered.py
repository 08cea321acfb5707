"""Messages that the bus did not take while it took others: they wait by saga and delay no other saga. Pure.

The relay publishes them. An outbox row counts as published only when none of its messages waits here.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from holdfast.bus.port import Message
from holdfast.messaging.backoff import backoff_ms

RETRY_BASE_MS = 1_000
RETRY_CAP_MS = 10_000

RowMessage = tuple[int, Message]
"""A message with the id of its row in the outbox."""


class Undelivered:
    """The waiting messages, in order for each saga; sagas take turns, so none waits for ever."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._by_key: dict[bytes, list[RowMessage]] = {}
        self._rows: Counter[int] = Counter()
        self._failures = 0
        self._due_ms = 0

    def __len__(self) -> int:
        return self._rows.total()

    def rows(self) -> Collection[int]:
        """Return the ids of the rows that have waiting messages."""
        return self._rows.keys()

    def add(self, messages: Iterable[RowMessage], now_ms: int) -> None:
        """Add messages, behind those of their sagas that wait already."""
        if not self._by_key:
            self._failures, self._due_ms = 1, now_ms + self._wait_ms(1)
        for row_id, message in messages:
            self._by_key.setdefault(message.key, []).append((row_id, message))
            self._rows[row_id] += 1

    def pass_over(self, row_id: int, batch: Sequence[Message]) -> list[Message]:
        """Add the messages whose saga waits already; return the others."""
        if not self._by_key:
            return list(batch)
        self.add(((row_id, message) for message in batch if message.key in self._by_key), 0)
        return [message for message in batch if message.key not in self._by_key]

    def wake(self) -> None:
        """Make all due now."""
        self._due_ms = 0

    def is_due(self, now_ms: int) -> bool:
        """Tell whether it is time to try again."""
        return bool(self._by_key) and now_ms >= self._due_ms

    def take(self, limit: int) -> list[RowMessage]:
        """Return what to try next: the messages of whole sagas, about `limit` of them."""
        taken: list[RowMessage] = []
        for messages in self._by_key.values():
            if len(taken) >= limit:
                break
            taken += messages
        return taken

    def settle(self, tried: Sequence[RowMessage], missing: Collection[int], now_ms: int) -> list[int]:
        """Remove the delivered messages of `tried`, all but the indexes `missing`; return rows then done.

        Sagas that still wait go to the end of the line. Messages added meanwhile stay behind missing ones.
        """
        left: dict[bytes, list[RowMessage]] = {}
        gone: list[int] = []
        counts = Counter(message.key for _, message in tried)
        for index, (row_id, message) in enumerate(tried):
            if index in missing:
                left.setdefault(message.key, []).append((row_id, message))
                continue
            self._rows[row_id] -= 1
            if not self._rows[row_id]:
                del self._rows[row_id]
                gone.append(row_id)
        for key, count in counts.items():
            waiting = left.get(key, []) + self._by_key.pop(key)[count:]
            if waiting:
                self._by_key[key] = waiting
        self._failures = self._failures + 1 if missing else 0
        self._due_ms = now_ms + self._wait_ms(self._failures) if missing else now_ms
        return gone

    def _wait_ms(self, failures: int) -> int:
        return backoff_ms(failures, RETRY_BASE_MS, RETRY_CAP_MS, self._seed)
