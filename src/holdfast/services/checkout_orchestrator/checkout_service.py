"""CheckoutService: passes events and fired timers to `decide` and saves its decisions.

All rules of the saga stand in `sagas.checkout`; this module only loads and saves sagas.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from holdfast.bus.partitioner import partition_of
from holdfast.contracts.codec import encode
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.handler import HandlerResult, OutboxMessage
from holdfast.messaging.message_origin import CONTRADICTS_END, CONTRADICTS_REQUEST
from holdfast.messaging.store import TimerKey, TimerRow
from holdfast.messaging.timers import DEADLINE, FiredTimer, TimerSettings
from holdfast.saga.definition import SagaDefinition
from holdfast.saga.machine import contradicts_end, decide
from holdfast.saga.state import (
    CANCELLATION_REQUESTED,
    DEADLINE_PASSED,
    DeadlinePassed,
    Decision,
    Event,
    SagaInstance,
    Verb,
)
from holdfast.services.checkout_orchestrator.metrics import SagaMetrics
from holdfast.services.checkout_orchestrator.store_port import HistoryRow, IgnoredRow, SagaTransaction

SAGAS = "saga"
"""The table's name under which the pruner notes up to which key sagas may be gone."""

_UNEXPECTED = "it cannot belong to"
_DETAILS = {"unknown_definition": "began under rules that only a newer program knows"}


class Objection(NamedTuple):
    """Why an event is parked: a reason for programs and a detail for people."""

    reason: str
    detail: str


def _objection(reason: str, event: Event) -> Objection:
    return Objection(reason, f"{event.kind} met a saga that {_DETAILS.get(reason, _UNEXPECTED)}")


class CheckoutService:
    """The orchestrator's handler. `definitions` holds each version that an open saga may have begun under."""

    def __init__(
        self, definitions: Mapping[int, SagaDefinition], partitions: int, timers: TimerSettings
    ) -> None:
        self._definitions = definitions
        self._newest = definitions[max(definitions)]
        self._partitions = partitions
        self._timers = timers
        self.metrics = SagaMetrics()

    def handle(self, tx: SagaTransaction, envelopes: Sequence[Envelope]) -> HandlerResult:
        """Decide on a batch of events, in order."""
        events = [Event(e.saga_id, e.message_id, e.kind, e.payload, e.raw) for e in envelopes]
        batch = _Batch(self, tx, events)
        for envelope, event in zip(envelopes, events, strict=True):
            objection = batch.apply(event)
            if objection:
                batch.handled.park(envelope, *objection)
        batch.save()
        return batch.handled

    def fire(self, tx: SagaTransaction, fired: Sequence[FiredTimer]) -> HandlerResult:
        """Decide on deadlines that passed."""
        events = [_deadline_event(timer) for timer in fired]
        batch = _Batch(self, tx, events)
        for timer, event in zip(fired, events, strict=True):
            if batch.apply(event, timer):
                batch.put_off(timer, self._timers.backoff_cap_ms)
        batch.save()
        return batch.handled

    def definition_of(self, saga: SagaInstance | None) -> SagaDefinition:
        """Return the definition that this saga began under; a new saga begins under the newest.

        Raises KeyError if only a newer program knows it.
        """
        return self._definitions[saga.definition_version] if saga else self._newest

    def knows(self, saga: SagaInstance | None) -> bool:
        """Tell whether this program knows the saga's definition; beside a newer program it may not."""
        return saga is None or saga.definition_version in self._definitions

    def timer_row(
        self, saga_id: str, step: str, verb: str, now_ms: int, fired: FiredTimer | None
    ) -> TimerRow:
        """Make the row of a deadline: a new one, or the next firing if `fired` is this deadline."""
        key = TimerKey(saga_id, step, verb)
        if fired is not None and fired.row.key == key:
            return self._timers.again(fired, now_ms)
        partition = partition_of(saga_id.encode(), self._partitions)
        return TimerRow(key, DEADLINE, partition, now_ms, now_ms + self._timers.resend_after_ms)


class _Batch:
    """The events of one transaction with the sagas that they change."""

    def __init__(self, service: CheckoutService, tx: SagaTransaction, events: Sequence[Event]) -> None:
        self._service = service
        self._tx = tx
        ids = {event.saga_id for event in events}
        starting_kinds = (service.definition_of(None).started_by, CANCELLATION_REQUESTED)
        self._may_be_new = {event.saga_id for event in events if event.kind in starting_kinds}
        self._sagas: dict[str, SagaInstance] = tx.lock_sagas(ids, self._may_be_new)
        self._loaded = dict(self._sagas)
        self._now_ms = tx.now_ms()
        pairs = [(event.saga_id, event.event_id) for event in events]
        self._pruned_before: str | None = None
        self._processed_event_ids = set(tx.processed_event_ids(pairs))
        self._history: list[HistoryRow] = []
        self._ignored: list[IgnoredRow] = []
        self._timers_to_set: dict[TimerKey, TimerRow] = {}
        self._timers_to_clear: set[TimerKey] = set()
        self._fired_timers: list[TimerRow] = []
        self.handled = HandlerResult()

    def apply(self, event: Event, fired: FiredTimer | None = None) -> Objection | None:
        """Let one event change its saga; return why the event must be parked, None if it need not."""
        saga = self._sagas.get(event.saga_id)
        if not self._service.knows(saga):
            return _objection("unknown_definition", event)
        definition = self._service.definition_of(saga)
        contradiction = definition.contradiction(saga, event) if saga is not None else ""
        if contradiction:
            return Objection(CONTRADICTS_REQUEST, f"{event.kind}: {contradiction}")
        processed = (event.saga_id, event.event_id) in self._processed_event_ids
        if processed and event.kind != definition.started_by:
            self._ignored.append(IgnoredRow(event.saga_id, event.event_id, event.kind, "repeated"))
            return None
        contradiction = contradicts_end(definition, saga, event) if saga is not None else ""
        if contradiction:
            return Objection(CONTRADICTS_END, f"{event.kind}: {contradiction}")
        if saga is None and event.saga_id in self._may_be_new and self._is_pruned(event):
            return _objection("pruned_saga", event)
        decision = decide(definition, saga, event, self._now_ms)
        self._service.metrics.reactions[definition.reaction_names.get(event.kind, event.kind)] += 1
        if decision.parked:
            return _objection(decision.parked, event)
        if decision.saga is not None:
            self._change(event, decision, decision.saga)
            self._service.metrics.changed(definition, saga, decision.saga, fired)
        elif decision.recorded:
            self._ignored.append(IgnoredRow(event.saga_id, event.event_id, event.kind, decision.ignored))
        self._update_timers(event, decision, fired)
        for message in decision.messages:
            value = encode(message.payload)
            attempt = _attempt(message.message_id, fired)
            self.handled.messages_to_seal.append(
                OutboxMessage(message.message_id, message.kind, event.saga_id, value, event.event_id, attempt)
            )
        return None

    def _is_pruned(self, event: Event) -> bool:
        """Tell whether the saga that this event would begin may have ended and been pruned.

        A start before its last moment is too young for that; only later ones are looked up.
        """
        if getattr(event.payload, "not_after_ms", 0) >= self._now_ms:
            return False
        if self._pruned_before is None:
            self._pruned_before = self._tx.pruned_before(SAGAS)
        return event.saga_id < self._pruned_before

    def _change(self, event: Event, decision: Decision, changed: SagaInstance) -> None:
        self._sagas[event.saga_id] = changed
        self._processed_event_ids.add((event.saga_id, event.event_id))
        raw = event.raw or encode(event.payload)
        self._history.append(
            HistoryRow(
                event.saga_id, changed.version, event.event_id, event.kind, raw, decision.path, self._now_ms
            )
        )

    def _update_timers(self, event: Event, decision: Decision, fired: FiredTimer | None) -> None:
        if fired is not None and decision.saga is None:  # the saga no longer awaits this answer
            self._timers_to_clear.add(fired.row.key)
        for timer in decision.clear_timers:
            key = TimerKey(event.saga_id, timer.step, timer.verb)
            self._timers_to_clear.add(key)
            self._timers_to_set.pop(key, None)
        for timer in decision.set_timers:
            row = self._service.timer_row(event.saga_id, timer.step, timer.verb, self._now_ms, fired)
            if fired is not None and row.key == fired.row.key:
                self._fired_timers.append(row)
            else:
                self._timers_to_set[row.key] = row
                self._timers_to_clear.discard(row.key)

    def put_off(self, fired: FiredTimer, wait_ms: int) -> None:
        """Put a deadline off, so that a program that knows the saga's definition can fire it."""
        self._timers_to_set[fired.row.key] = fired.row._replace(due_ms=self._now_ms + wait_ms)

    def save(self) -> None:
        """Write each changed saga once, the history, the ignored events and the timers."""
        changed = [saga for saga_id, saga in self._sagas.items() if saga is not self._loaded.get(saga_id)]
        self._tx.save_sagas(changed, sorted(self._may_be_new - self._sagas.keys()))
        self._tx.append_history(self._history)
        self._tx.count_ignored(self._ignored)
        self._tx.clear_timers(sorted(self._timers_to_clear))
        self._tx.set_timers(list(self._timers_to_set.values()))
        self.handled.fired = self._fired_timers


def _deadline_event(timer: FiredTimer) -> Event:
    key = timer.row.key
    event_id = f"{key.saga_id}:{key.step}:{key.verb}:deadline:{timer.row.fired + 1}"
    payload = DeadlinePassed(key.step, Verb(key.verb), timer.overdue)
    return Event(key.saga_id, event_id, DEADLINE_PASSED, payload)


def _attempt(message_id: str, fired: FiredTimer | None) -> int:
    """Return which send of the command this is, if its own timer sends it again; 1 for all other messages."""
    if fired is None or message_id != ":".join(fired.row.key):
        return 1
    return fired.row.fired + 2
