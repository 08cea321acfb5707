"""A participant on real PostgreSQL, put together by its own `build`; commands lead to its fence rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import psycopg
from tests.samples import NOT_AFTER_MS, saga_id

from holdfast.bus.memory import MemoryBus
from holdfast.bus.port import Message, Record
from holdfast.contracts.codec import encode
from holdfast.contracts.messages import EmptyPayload, Payload
from holdfast.contracts.steps import StepMessages
from holdfast.contracts.topics import TOPICS
from holdfast.messaging.batch_processor import Committed
from holdfast.messaging.components import Components, Ports
from holdfast.messaging.envelope import seal_raw
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.services.payment_gateway.charging import ChargeLoop
from holdfast.services.payment_gateway.domain import (
    Declined,
    ProviderCall,
    ProviderRequest,
    ProviderResult,
    Succeeded,
)

DO, UNDO, CONFIRM = "do", "undo", "confirm"
CLAIM, RESOLVE = "claim", "resolve"
"""What the charge loop does between commands: mark as submitted; call the provider and record."""

_numbers = count(1)


class Answered(NamedTuple):
    """One message that a participant appended: an answer, or the copy of what it parked."""

    message_id: str
    kind: str
    value: bytes | None
    topic: str

    @property
    def is_dead_letter(self) -> bool:
        return self.topic not in TOPICS


@dataclass
class CardCompany:
    """Charges everything, but declines sagas that are in `declined`."""

    declined: set[str] = field(default_factory=set)
    calls: list[tuple[str, ProviderRequest]] = field(default_factory=list)

    def call(self, calls: Sequence[ProviderCall]) -> list[ProviderResult]:
        self.calls += [(call.payment.saga_id, call.ask) for call in calls]
        return [self._one(call) for call in calls]

    def _one(self, call: ProviderCall) -> ProviderResult:
        if call.payment.saga_id in self.declined:
            return Declined("generic_decline", "no")
        return Succeeded(f"{call.ask}-{call.payment.saga_id}")

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class OnPostgres:
    """One service: commands go through its unit of work as records from the bus."""

    parts: Components[Any]
    store: PostgresStore[Any]
    messages: StepMessages
    dsn: str
    charge_loop: ChargeLoop | None = None

    @property
    def step(self) -> str:
        return self.messages.step

    def new_saga(self) -> str:
        return saga_id(next(_numbers))

    def record(self, saga: str, verb: str, command: Payload) -> Record:
        """Return the command as it lies on the bus."""
        kind = {DO: self.messages.do, UNDO: self.messages.undo, CONFIRM: self.messages.confirm}[verb]
        payload = command if verb == DO else EmptyPayload()
        message = seal_raw(f"{saga}:{self.step}:{verb}", kind, saga, encode(payload), "checkout-orchestrator")
        place = (message.topic, 0, next(_numbers))
        return Record(
            *place, message.key, message.value, message.headers, NOT_AFTER_MS, "checkout-orchestrator"
        )

    def run(self, records: Sequence[Record]) -> list[Answered]:
        """Handle one batch in one transaction; return what it appended."""
        return _answered(self.parts.processor.run(records))

    def resolve(self, *, record: bool) -> list[Answered]:
        """Claim due calls, and with `record` make them and write their ends down."""
        assert self.charge_loop is not None
        calls = self.charge_loop.claim()
        before = len(self._outbox())
        if record:
            answers = self.charge_loop._provider.call(calls)
            self.charge_loop.record(list(zip(calls, answers, strict=True)))
        return [_answer(message) for message in self._outbox()[before:]]

    def _outbox(self) -> list[Message]:
        with self.store.transaction() as tx:
            rows: list[tuple[int, list[Message]]] = tx.stale_outbox(0, 100_000)
        return [message for _, batch in rows for message in batch]

    def fence(self, saga: str) -> str:
        """Name the row: its state, and where it is running what the outside may know."""
        found = self.select("select state, submitted_at, undo_requested from fence where saga_id = %s", saga)
        if not found:
            return "none"
        state, submitted_at, undo_requested = found[0]
        marks = [("submitted", submitted_at), ("undo_requested", undo_requested)]
        notes = [name for name, there in marks if there and state == "RUNNING"]
        return " ".join([state, *notes])

    def parked(self, saga: str) -> list[str]:
        return [row[0] for row in self.select("select reason from parked where saga_id = %s", saga)]

    def select(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read the tables past the store."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(statement.encode(), values).fetchall()


def ports_on(store: PostgresStore[Any]) -> Ports[Any]:
    """Return the ports of a service on this store, its bus in memory."""
    return Ports(store, MemoryBus(lambda: 0.0), lambda: 0, "test", 1)


def _answered(committed: Committed) -> list[Answered]:
    return [_answer(message) for message in committed.messages]


def _answer(message: Message) -> Answered:
    headers = dict(message.headers)
    return Answered(headers["ce_id"].decode(), headers["ce_type"].decode(), message.value, message.topic)
