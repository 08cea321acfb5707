"""A saga as operators see it: its state, its history, what it awaits and what it owes. Pure.

The gateway's view, which shows less, is in `contracts.http_api`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from holdfast.messaging.store import ActionTaken, TimerRow
from holdfast.saga.definition import SagaDefinition, Step
from holdfast.saga.state import DEADLINE_PASSED, SagaInstance, Verb
from holdfast.services.checkout_orchestrator.liabilities import Liabilities, initiated, owed_by
from holdfast.services.checkout_orchestrator.store_port import HistoryRow, IgnoredEvent


class SagaSummary(Struct, frozen=True):
    """A saga in a list. Times are Unix milliseconds, 0 for not yet."""

    saga_id: str
    state: str
    reason: str
    started_ms: int
    ended_ms: int
    stalled_since_ms: int
    owed: Liabilities


class SagaPage(Struct, frozen=True):
    """Sagas in the requested order; `next` is the `after` of the following page, null on the last.

    A page may be short or empty although more follow: each page reads a bounded number of sagas.
    """

    items: tuple[SagaSummary, ...]
    next: str | None


class EventView(Struct, frozen=True):
    """An event that changed the saga, with the states that it led through and the messages that it sent."""

    seq: int
    event_id: str
    kind: str
    path: tuple[str, ...]
    sent: tuple[str, ...]
    at_ms: int


class IgnoredView(Struct, frozen=True):
    """An event that changed nothing, and why."""

    event_id: str
    kind: str
    reason: str
    times: int
    first_ms: int
    last_ms: int


class DeadlineView(Struct, frozen=True):
    """An awaited answer: its command, since when, how often the deadline fired, when it fires next."""

    step: str
    verb: str
    command: str
    since_ms: int
    due_ms: int
    fired: int


class ActionView(Struct, frozen=True):
    """What an operator did to the saga."""

    at_ms: int
    operator: str
    action: str
    reason: str


class CheckoutSummary(Struct, frozen=True):
    """What the saga is about."""

    user_id: str
    cart_id: str
    total_minor: int
    currency: str
    pieces: int


class SagaDetails(Struct, frozen=True):
    """All that is known of a saga; `checkout` is null if the saga was cancelled before it began."""

    saga: SagaSummary
    version: int
    definition: str
    detail: str
    now_ms: int
    checkout: CheckoutSummary | None
    history: tuple[EventView, ...]
    ignored: tuple[IgnoredView, ...]
    awaited: tuple[DeadlineView, ...]
    actions: tuple[ActionView, ...]


class SagaRows(NamedTuple):
    """A saga with all its rows, as read from the store."""

    saga: SagaInstance
    history: Sequence[HistoryRow]
    ignored: Sequence[IgnoredEvent]
    timers: Sequence[TimerRow]
    actions: Sequence[ActionTaken]


def to_summary(saga: SagaInstance) -> SagaSummary:
    """Return a saga as a row of a list."""
    return SagaSummary(
        saga.saga_id,
        saga.state,
        saga.reason,
        saga.started_ms,
        saga.ended_ms,
        saga.stalled_ms,
        owed_by(saga),
    )


def to_details(definition: SagaDefinition, rows: SagaRows, now_ms: int) -> SagaDetails:
    """Return all that is known of a saga."""
    saga = rows.saga
    return SagaDetails(
        saga=to_summary(saga),
        version=saga.version,
        definition=f"{saga.definition}/{saga.definition_version}",
        detail=saga.detail,
        now_ms=now_ms,
        checkout=_checkout(saga),
        history=_history(definition, rows.history),
        ignored=tuple(IgnoredView(*event) for event in rows.ignored),
        awaited=tuple(_deadline(definition, row) for row in rows.timers),
        actions=tuple(ActionView(*action) for action in rows.actions),
    )


def _checkout(saga: SagaInstance) -> CheckoutSummary | None:
    checkout = initiated(saga)
    if checkout is None:
        return None
    pieces = sum(line.quantity for line in checkout.lines)
    return CheckoutSummary(
        checkout.user_id, checkout.cart_id, checkout.total_minor, checkout.currency, pieces
    )


def _deadline(definition: SagaDefinition, row: TimerRow) -> DeadlineView:
    key = row.key
    command = _command(definition.step_named[key.step], key.verb)
    return DeadlineView(key.step, key.verb, command, row.since_ms, row.due_ms, row.fired)


def _command(step: Step, verb: str) -> str:
    return (step.do if verb == Verb.DO else step.undo) or ""


def _history(definition: SagaDefinition, rows: Sequence[HistoryRow]) -> tuple[EventView, ...]:
    """Return the events with the messages that they sent; these follow from the states on each path."""
    requested: list[Step] = []
    events = []
    for row in rows:
        sent = _sent(definition, row, requested)
        requested += [step for step in definition.steps if step.pending in row.path]
        events.append(EventView(row.seq, row.event_id, row.kind, row.path, sent, row.at_ms))
    return tuple(events)


def _sent(definition: SagaDefinition, row: HistoryRow, requested: Sequence[Step]) -> tuple[str, ...]:
    if row.kind == DEADLINE_PASSED and not row.path:
        _, name, verb, *_ = row.event_id.split(":")
        return (_command(definition.step_named[name], verb),)
    sent = [step.do for step in definition.steps if step.pending in row.path]
    if definition.compensating in row.path:
        sent += [s.undo for s in reversed(requested) if s.undo and row.kind not in (s.failed, s.undone)]
    if definition.completed_state in row.path:
        sent += [*(s.confirm for s in definition.steps if s.confirm), definition.completed_event]
    if definition.failed_state in row.path:
        sent.append(definition.failed_event)
    return tuple(sent)
