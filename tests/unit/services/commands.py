"""A participant on memory: its commands in batches, its answers and tables to look at."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import Payload
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.memory_store import MemoryStore, MemoryTransaction
from holdfast.messaging.participant import ParticipantHandler

START_MS = 1_800_000_000_000


class Command(NamedTuple):
    """A command for one saga; its message id follows from its type."""

    saga_id: str
    kind: str
    payload: Payload


class Participating:
    """One service's handler on its memory store."""

    def __init__(self, participant: Any, transaction_type: type[MemoryTransaction]) -> None:
        self.now_ms = START_MS
        self.store: MemoryStore[Any] = MemoryStore(transaction_type, lambda: self.now_ms)
        self._handler: ParticipantHandler[Any, Any] = ParticipantHandler(participant)
        self._step = participant.messages.step

    def hear(self, *commands: Command) -> HandlerResult:
        """Handle these commands as one batch."""
        envelopes = [self._envelope(command) for command in commands]
        with self.store.transaction() as tx:
            return self._handler.handle(tx, envelopes)

    def _envelope(self, command: Command) -> Envelope:
        saga_id, kind, payload = command
        return Envelope(f"{saga_id}:{self._step}:{kind}", kind, saga_id, payload, encode(payload), 1, None)

    def answers(self, *commands: Command) -> list[str]:
        """Handle these commands as one batch; return the types of the answers."""
        return [reply.kind for reply in self.hear(*commands).messages_to_seal]

    def rows(self, table: str) -> dict[Any, Any]:
        """Return a table as committed."""
        return self.store.tables.tables.get(table, {})

    def fence_states(self) -> list[str]:
        """Return the states of all fence rows, in the order of their sagas."""
        return [str(fence.state) for _, fence in sorted(self.rows("fence").items())]


def in_batches(items: Sequence[Any], sizes: Sequence[int]) -> list[Sequence[Any]]:
    """Cut `items` into batches of these sizes; the last takes what is left."""
    batches, start = [], 0
    for size in sizes:
        batches.append(items[start : start + size])
        start += size
    return [*batches, items[start:]]
