"""What the engine reads and returns: a saga's state, an event, and the decision that leads to the next state.

All values are immutable and hashable, so that a simulator can remember every state that it has seen.
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
    """A fired timer. `overdue`: fired twice or more, out of patience, and the silence is not our failure."""

    step: str
    verb: Verb
    overdue: bool


DEADLINE_PASSED = "DeadlinePassed"
CANCELLATION_REQUESTED = "CancellationRequested"


class SagaInstance(NamedTuple):
    """A saga between two events. `version` counts the events that changed it.

    `failed`: steps that refused; `owed`: steps whose undo is not yet answered; `results`: the encoded answers
    of steps that keep them; `data`: the first event's encoded payload, unchanged. Times are Unix milliseconds
    by the database's clock, 0 if not yet.
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
    """A message to send: its deterministic id, its type and its payload struct."""

    message_id: str
    kind: str
    payload: Any


class Timer(NamedTuple):
    """A deadline on the answer to one command of a saga."""

    step: str
    verb: Verb


class Decision(NamedTuple):
    """What one event does to a saga. Exactly one of three:

    changed (`saga` is the new state, `path` the states that it went through), `ignored` (the reason; messages
    may still answer an outcome request or a repeated start), or `parked` (the reason; an operator must look).
    `recorded` is False if the event must leave no trace in the history.
    """

    saga: SagaInstance | None = None
    path: tuple[str, ...] = ()
    messages: tuple[Outgoing, ...] = ()
    set_timers: tuple[Timer, ...] = ()
    clear_timers: tuple[Timer, ...] = ()
    ignored: str = ""
    parked: str = ""
    recorded: bool = True
