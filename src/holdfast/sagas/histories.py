"""Recorded histories of sagas, and how today's definitions would treat them differently.

A definition may change only for sagas that begin later; running sagas keep their version. All here is pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from holdfast.contracts import codec
from holdfast.contracts.messages import Refused
from holdfast.saga.definition import SagaDefinition
from holdfast.saga.machine import decide
from holdfast.saga.state import (
    CANCELLATION_REQUESTED,
    DEADLINE_PASSED,
    DeadlinePassed,
    Decision,
    Event,
    SagaInstance,
)


class SentMessage(Struct, frozen=True, array_like=True):
    """A message that was sent because of an event; `value` is its JSON, byte for byte."""

    message_id: str
    kind: str
    value: str


class RecordedEvent(Struct, frozen=True, array_like=True):
    """One event that changed a saga; `payload` is its JSON, `timers` names those set and cleared."""

    event_id: str
    kind: str
    payload: str
    now_ms: int
    path: tuple[str, ...]
    sent: tuple[SentMessage, ...] = ()
    timers: tuple[str, ...] = ()


class History(Struct, frozen=True):
    """All events of one saga; `end` is its last row, without `data` (the first event's payload)."""

    saga_id: str
    definition: str
    version: int
    events: tuple[RecordedEvent, ...]
    end: SagaInstance


def record(
    saga: SagaInstance, rows: Sequence[RecordedEvent], versions: Mapping[int, SagaDefinition]
) -> History:
    """Return the history of a saga, with the messages and timers that its version decides at each event."""
    bare = History(
        saga.saga_id, saga.definition, saga.definition_version, tuple(rows), saga._replace(data=b"")
    )
    decisions = _replay(bare, versions[saga.definition_version])
    events = tuple(_with_decision(row, decision) for row, decision in zip(rows, decisions, strict=True))
    return History(bare.saga_id, bare.definition, bare.version, events, bare.end)


def differences(history: History, versions: Mapping[int, SagaDefinition]) -> list[str]:
    """Return how today's definitions would treat this saga differently; empty if they would not."""
    definition = versions.get(history.version)
    if definition is None:
        return [f"there are no rules for version {history.version} any more"]
    found = []
    decisions = _replay(history, definition)
    for number, (row, decision) in enumerate(zip(history.events, decisions, strict=True), start=1):
        again = _with_decision(row, decision)
        for name in ("path", "sent", "timers"):
            was, now = getattr(row, name), getattr(again, name)
            if was != now:
                found.append(f"event {number}, {row.kind}: {name} was {was}, would be {now}")
    end = next((d.saga for d in reversed(decisions) if d.saga is not None), None)
    if end is None or end._replace(data=b"") != history.end:
        found.append(f"it ended as {history.end}, would end as {end}")
    return found


def _replay(history: History, definition: SagaDefinition) -> list[Decision]:
    decisions: list[Decision] = []
    saga: SagaInstance | None = None
    for row in history.events:
        event = Event(history.saga_id, row.event_id, row.kind, _payload(row), row.payload.encode())
        decisions.append(decide(definition, saga, event, row.now_ms))
        saga = decisions[-1].saga or saga
    return decisions


def _payload(row: RecordedEvent) -> Any:
    """Decode the stored payload: of a message, or of one of the orchestrator's own events."""
    value = row.payload.encode()
    if row.kind == DEADLINE_PASSED:
        return codec.decode_as(DeadlinePassed, value)
    if row.kind == CANCELLATION_REQUESTED:
        return codec.decode_as(Refused, value)
    return codec.decode(row.kind, value)


def _with_decision(row: RecordedEvent, decision: Decision) -> RecordedEvent:
    sent = tuple(
        SentMessage(m.message_id, m.kind, codec.encode(m.payload).decode()) for m in decision.messages
    )
    timers = tuple(f"set {timer.step} {timer.verb}" for timer in decision.set_timers)
    timers += tuple(f"clear {timer.step} {timer.verb}" for timer in decision.clear_timers)
    path = decision.path if decision.saga is not None else (decision.ignored or decision.parked,)
    return RecordedEvent(row.event_id, row.kind, row.payload, row.now_ms, path, sent, timers)
