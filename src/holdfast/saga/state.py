"""What the engine reads and writes: a saga's state, an event, and the decision between two states.

All values are immutable and hashable, so that a simulator can remember every state it has seen.
"""

from enum import StrEnum
from typing import Any, NamedTuple


class Verb(StrEnum):
    """What a command asks of a step; also the middle of its message id."""

    DO = "do"
    UNDO = "undo"
    CONFIRM = "confirm"


class Event(NamedTuple):
    """Something that happened to a saga. `payload` is opaque to the engine; `raw` are its encoded bytes."""

    saga_id: str
    event_id: str
    kind: str
    payload: Any
    raw: bytes = b""


class DeadlinePassed(NamedTuple):
    """The payload of a fired timer. `overdue`: fired often and long enough, and our own house was well."""

    step: str
    verb: Verb
    overdue: bool


DEADLINE_PASSED = "DeadlinePassed"
CANCELLATION_REQUESTED = "CancellationRequested"


class SagaInstance(NamedTuple):
    """A saga between two events. `version` counts the events that changed it.

    `failed`: steps that answered a refusal; `owed`: steps whose undo is not answered; `results`: kept
    answers by step, encoded; `data`: the first event's encoded payload, untouched. Times are Unix
    milliseconds of the database's clock, 0 for not yet.
    """

    saga_id: str
    definition: str
    definition_version: int
    state: str
    version: int
    data: bytes
    failed: tuple[str, ...] = ()
    owed: tuple[str, ...] = ()
    results: tuple[tuple[str, bytes], ...] = ()
    reason: str = ""
    detail: str = ""
    started_ms: int = 0
    ended_ms: int = 0
    stalled_ms: int = 0


class Outgoing(NamedTuple):
    """A message to send: its deterministic id, its type, its payload struct."""

    message_id: str
    kind: str
    payload: Any


class Timer(NamedTuple):
    """A deadline on the answer to one command of a saga."""

    step: str
    verb: Verb


class Decision(NamedTuple):
    """What follows from one event.

    Exactly one of three: changed (`saga` is the new state, `path` the states led through), `ignored`
    (a reason; messages may still answer a question), or `parked` (an operator must look). `recorded`
    is False for what must leave no trace in the history.
    """

    saga: SagaInstance | None = None
    path: tuple[str, ...] = ()
    messages: tuple[Outgoing, ...] = ()
    set_timers: tuple[Timer, ...] = ()
    clear_timers: tuple[Timer, ...] = ()
    ignored: str = ""
    parked: str = ""
    recorded: bool = True
