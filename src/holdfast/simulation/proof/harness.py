"""Stand-ins for a saga's services: the real fence around a participant that obeys and counts.

The search tests whether the saga sends the right commands, not what a participant does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from holdfast.contracts.codec import decode_as
from holdfast.contracts.messages import EmptyPayload, Payload, Refused
from holdfast.contracts.steps import StepMessages
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.fence import Fence
from holdfast.messaging.handler import Handler, HandlerResult
from holdfast.messaging.memory_store import MemoryTables, MemoryTransaction
from holdfast.messaging.participant import CommandWork, Done, StepResult
from holdfast.saga.definition import Step
from holdfast.simulation.setup import START_MS


class TestMessage(NamedTuple):
    """A message without the bus: it is never written to a topic, and it has no attempt."""

    message_id: str
    kind: str
    saga_id: str
    value: bytes
    sender: str


class ParkedMessage(NamedTuple):
    """A message that was parked, which is a finding."""

    message_id: str
    reason: str


class HandlerHarness:
    """A `Harness` around one handler."""

    def __init__(
        self,
        name: str,
        handler: Handler[Any],
        transaction: type[MemoryTransaction],
        types: Mapping[str, type],
    ) -> None:
        self._name = name
        self._handler = handler
        self._transaction = transaction
        self._types = types
        self._tables = MemoryTables()
        self._now_ms = START_MS
        self._sent: list[TestMessage] = []

    def run(
        self, before: MemoryTables, work: Callable[[], object], now_ms: int = START_MS
    ) -> tuple[MemoryTables, tuple[TestMessage, ...]]:
        self._tables, self._now_ms, self._sent = before, now_ms, []
        work()
        return before, tuple(self._sent)

    def consume(
        self, before: MemoryTables, batch: list[TestMessage]
    ) -> tuple[MemoryTables, tuple[TestMessage, ...]]:
        envelopes = [self._open(message) for message in batch]
        return self.run(before, lambda: self.commit(lambda tx: self._handler.handle(tx, envelopes)))

    def commit(self, work: Callable[[Any], HandlerResult]) -> None:
        tx = self._transaction(self._tables, self._now_ms)
        result = work(tx)
        tx.set_timers(result.fired)
        for parked in result.parked:
            message_id = parked.envelope.message_id
            tx.table("parked")[message_id] = ParkedMessage(message_id, parked.reason)
        tx.commit()
        self._sent += [
            TestMessage(r.message_id, r.kind, r.saga_id, r.value, self._name) for r in result.messages_to_seal
        ]

    def _open(self, message: TestMessage) -> Envelope:
        payload: Any = decode_as(self._types.get(message.kind, EmptyPayload), message.value)
        message_id, kind, saga_id, value, _ = message
        return Envelope(message_id, kind, saga_id, payload, value, 1, None)


@dataclass
class StepCounts:
    """How often each of the sagas was done, undone and confirmed here."""

    times: dict[tuple[str, str], int] = field(default_factory=dict)

    def count(self, saga_id: str, verb: str) -> None:
        self.times[saga_id, verb] = self.times.get((saga_id, verb), 0) + 1


class Counting:
    """A participant of one step: does what it is asked, or refuses, and counts."""

    def __init__(self, step: Step, answer: Done | Refused) -> None:
        names = (step.failed or "", step.undo or "", step.undone or "", step.confirm or "")
        self.messages = StepMessages(step.name, step.do, step.done, *names)
        self._answer = answer

    def load(self, tx: MemoryTransaction, work: Sequence[CommandWork]) -> StepCounts:
        ids = {item.envelope.saga_id for item in work}
        return StepCounts({key: n for key, n in tx.table("times").items() if key[0] in ids})

    def do(self, rows: StepCounts, saga_id: str, command: Payload) -> StepResult:
        if isinstance(self._answer, Done):
            rows.count(saga_id, "done")
        return self._answer

    def agrees(self, rows: StepCounts, command: Payload, fence: Fence) -> bool:
        """Agree: here a repeated command is always the same."""
        return True

    def undo(self, rows: StepCounts, saga_id: str) -> bool:
        rows.count(saga_id, "undone")
        return True

    def confirm(self, rows: StepCounts, saga_id: str) -> None:
        rows.count(saga_id, "confirmed")

    def forget(self, rows: StepCounts, saga_id: str) -> None:
        raise AssertionError("what is counted is done at once and never pending")

    def save(self, tx: MemoryTransaction, rows: StepCounts) -> None:
        tx.table("times").update(rows.times)


class Endings:
    """The starter's handler: remembers what the saga's final event said."""

    def handle(self, tx: MemoryTransaction, envelopes: Sequence[Envelope]) -> HandlerResult:
        result = HandlerResult()
        for envelope in envelopes:
            if tx.table("ended").setdefault(envelope.saga_id, envelope.kind) != envelope.kind:
                result.park(envelope, "two_endings", "the saga ended in another way before")
        return result
