"""The orchestrator's metrics and alarms: fired deadlines, undone and stalled sagas, number of open sagas.

Counters and the last count of open sagas are in memory, so that a scrape does not query the database.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import structlog
from prometheus_client.core import Metric

from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.timers import FiredTimer
from holdfast.runtime.telemetry import counter, gauge
from holdfast.saga.definition import SagaDefinition, StepClass
from holdfast.saga.state import SagaInstance, Verb
from holdfast.services.checkout_orchestrator.liabilities import owed_by
from holdfast.services.checkout_orchestrator.store_port import SagaTransaction, StateCount

COUNT_EVERY_MS = 5_000

log = structlog.get_logger(__name__)


class SagaMetrics:
    """Counters and alarms. What is rolled back and done again is counted again: better twice than never."""

    def __init__(self) -> None:
        self.reactions: Counter[str] = Counter()
        self.ended: Counter[tuple[str, str]] = Counter()
        self.fired: Counter[tuple[str, str]] = Counter()
        self.undone_by_deadline: Counter[str] = Counter()
        self.stalled: Counter[str] = Counter()
        self.pivot_overdue = 0

    def changed(
        self,
        definition: SagaDefinition,
        before: SagaInstance | None,
        saga: SagaInstance,
        fired: FiredTimer | None,
    ) -> None:
        """Count and log what changed in a saga."""
        if saga.reason and not (before and before.reason):
            log.info("saga_refused", saga_id=saga.saga_id, state=saga.state, reason=saga.reason)
        if saga.state in definition.terminal:
            self.ended[saga.state, saga.reason] += 1
            log.info("saga_ended", saga_id=saga.saga_id, state=saga.state, reason=saga.reason)
            if before is not None and before.stalled_ms:
                log.info("saga_no_longer_stalled", saga_id=saga.saga_id)
        if fired is None:
            return
        step, verb = fired.row.key.step, fired.row.key.verb
        self.fired[step, verb] += 1
        if verb == Verb.UNDO:
            if saga.stalled_ms and not (before and before.stalled_ms):
                self.stalled[step] += 1
                self._log_stalled(saga, step)
        elif before is not None and before.state != saga.state:
            self.undone_by_deadline[step] += 1
            log.warning("saga_undone_by_deadline", saga_id=saga.saga_id, step=step, fired=fired.row.fired)
        elif fired.overdue and definition.step_named[step].step_class is StepClass.PIVOT:
            self.pivot_overdue += 1
            log.error("pivot_overdue", saga_id=saga.saga_id, step=step, fired=fired.row.fired)

    def _log_stalled(self, saga: SagaInstance, step: str) -> None:
        owed = owed_by(saga)
        log.error(
            "saga_stalled",
            saga_id=saga.saga_id,
            step=step,
            owed=owed.steps,
            amount_minor=owed.amount_minor,
            currency=owed.currency,
            pieces=sum(owed.pieces.values()),
        )

    def readings(self) -> Iterable[Metric]:
        """Return the counters."""
        text = "Events by the reaction that they met."
        yield counter("checkout_saga_reactions", text, _by_one(self.reactions), ("reaction",))
        text = "Sagas that ended, by state and reason."
        yield counter("checkout_sagas_ended", text, _by_two(self.ended), ("state", "reason"))
        text = "Deadlines that passed, by step and direction."
        yield counter("checkout_deadlines_fired", text, _by_two(self.fired), ("step", "verb"))
        text = "Sagas undone because a step was silent."
        yield counter("checkout_sagas_undone_by_deadline", text, _by_one(self.undone_by_deadline), ("step",))
        text = "Sagas that became stalled, by the step whose undo was overdue."
        yield counter("checkout_sagas_became_stalled", text, _by_one(self.stalled), ("step",))
        text = "Overdue firings of the pivot's deadline."
        yield counter("checkout_pivot_overdue", text, {(): float(self.pivot_overdue)})


def _by_one(counts: Counter[str]) -> dict[tuple[str, ...], float]:
    return {(label,): float(count) for label, count in counts.items()}


def _by_two(counts: Counter[tuple[str, str]]) -> dict[tuple[str, ...], float]:
    return {labels: float(count) for labels, count in counts.items()}


class OpenSagaCount:
    """The writer's periodic count of open sagas in the partitions that it owns; instances' counts add up."""

    def __init__(self, states: Iterable[str]) -> None:
        self._states = tuple(states)
        self._counts: list[StateCount] = []
        self._counted_ms = 0

    def periodic_task(self) -> PeriodicTask[Any]:
        """Return this as a periodic task of the writer."""
        return PeriodicTask("census", COUNT_EVERY_MS, self.run_once)

    def run_once(self, manager: "KafkaConsumerManager[Any]") -> None:
        """Count the open sagas now."""
        owned = manager.partitions()

        def count(tx: SagaTransaction) -> HandlerResult:
            self._counts = tx.count_open(owned) if owned else []
            self._counted_ms = tx.now_ms()
            return HandlerResult()

        manager.commit(count)

    def readings(self) -> Iterable[Metric]:
        """Return the gauges of the last count; a state without sagas shows 0."""
        counts = {row.state: row for row in self._counts}
        by_state: dict[tuple[str, ...], float] = {
            (state,): counts[state].sagas if state in counts else 0 for state in self._states
        }
        yield gauge("checkout_sagas_open", "Sagas under way, by state.", by_state, ("state",))
        stalled = sum(row.stalled for row in self._counts)
        yield gauge("checkout_sagas_stalled", "Sagas whose undo is overdue.", {(): float(stalled)})
        oldest_ms = min((row.oldest_ms for row in self._counts), default=self._counted_ms)
        age_s = max(0, self._counted_ms - oldest_ms) / 1000
        yield gauge("checkout_saga_oldest_age_seconds", "Age of the oldest saga under way.", {(): age_s})
