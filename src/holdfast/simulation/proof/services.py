"""The models of the services: gateway, orchestrator, and participants that answer at once."""

from collections.abc import Callable, Iterator
from typing import Any

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import Refused
from holdfast.contracts.topics import ORCHESTRATOR
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.fence import FenceState
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.memory_store import MemoryTables
from holdfast.messaging.outcome_poller import ASK_EVERY_MS, OutcomePoller
from holdfast.messaging.timers import FIRINGS_BEFORE_OVERDUE, FiredTimer
from holdfast.saga.state import CANCELLATION_REQUESTED
from holdfast.services.checkout_orchestrator.checkout_service import CheckoutService
from holdfast.services.gateway_bff.checkout_resender import FIRST_AFTER_MS, CheckoutResender
from holdfast.simulation.proof.real_harness import Database, Harness, WriterModel, freeze, thaw
from holdfast.simulation.proof.service_models import (
    Batch,
    MessagesInFlight,
    ModelStep,
    Move,
    Node,
    ServiceModel,
)
from holdfast.simulation.setup import START_MS

SETTLED_LATE_MS = START_MS + 2 * ASK_EVERY_MS


class ServiceCodeModel(ServiceModel):
    """A model that runs a service's real code."""

    def __init__(self, service: str, in_flight: MessagesInFlight, harness: Harness) -> None:
        super().__init__(service, in_flight)
        self.harness = harness
        self._timely: dict[tuple[Any, Any, str], ModelStep] = {}

    def tables(self, node: Node) -> MemoryTables:
        """Return the database to run on."""
        return thaw(node.db)  # type: ignore[arg-type]

    def handle(self, node: Node, batch: Batch) -> ModelStep:
        messages = [self.in_flight.message(number) for number in batch]
        what = " and ".join(map(self.in_flight.name_of, batch))
        return self.transact(node, f"takes {what}", lambda tables: self.harness.consume(tables, messages))

    def transact(
        self, node: Node, what: str, run: Callable[[MemoryTables], tuple[MemoryTables, tuple[Any, ...]]]
    ) -> ModelStep:
        """Run real code on the node's database; an exception is a finding, and the database stays."""
        try:
            after, sent = run(self.tables(node))
        except Exception as error:  # noqa: BLE001 - whatever a service raises is what the search looks for
            broken = f"exception: {self.name} {what}: {error!r}"
            return ModelStep(f"{self.name} {what}", node.db, node.lanes, node.memory, (), broken=(broken,))
        broken_rules = tuple(self.check(node.db, after.tables))
        return ModelStep(
            f"{self.name} {what}", freeze(after.tables), node.lanes, node.memory, sent, broken=broken_rules
        )

    def by_time(self, node: Node, what: str, work: Callable[[], object], now_ms: int) -> ModelStep | None:
        """Run a transaction that begins by time; return None if it changes, sends and breaks nothing."""
        key = (node.db, node.memory, what)
        step = self._timely.get(key)
        if step is None:
            step = self.transact(node, what, lambda tables: self.harness.run(tables, work, now_ms))
            self._timely[key] = step
        if not step.messages and step.db == node.db and not step.broken:
            return None
        return step._replace(lanes=node.lanes)

    def in_time(self, node: Node, step: ModelStep | None) -> Iterator[Move]:
        """List the results of a transaction that began by time."""
        if step is not None:
            yield from self.variants(node, step)

    def check(self, before: Any, after: dict[str, dict[Any, Any]]) -> Iterator[str]:
        """Name what one transaction broke."""
        for row in after.get("parked", {}).values():
            yield f"parked: {row.message_id}: {row.reason}"


class ParticipantModel(ServiceCodeModel):
    """The service of one step; by time it asks for the outcome of sagas whose end it has not heard."""

    def __init__(self, service: str, in_flight: MessagesInFlight, harness: Harness, step: str) -> None:
        super().__init__(service, in_flight, harness)
        self.step = step

    def idle(self, node: Node) -> Iterator[Move]:
        poller = OutcomePoller(self.step, 1, lambda: 0)
        writer: Any = WriterModel(self.harness)
        yield from self.in_time(
            node, self.by_time(node, "asks", lambda: poller.run_once(writer), SETTLED_LATE_MS)
        )


class StarterModel(ServiceCodeModel):
    """Starts sagas; `memory` holds the messages that it has accepted and not published yet."""

    is_sink = True

    def busy(self, node: Node) -> Iterator[Move]:
        if node.memory:
            accepted: Any = node.memory
            step = ModelStep(f"{self.name} publishes", node.db, node.lanes, (), accepted)
            yield from self.variants(node, step)


class GatewayModel(StarterModel):
    """The gateway: by time it sends an accepted checkout again until it hears of its end."""

    def idle(self, node: Node) -> Iterator[Move]:
        resender = CheckoutResender(1)
        late_ms = START_MS + FIRST_AFTER_MS + 1_000
        writer: Any = WriterModel(self.harness)
        yield from self.in_time(
            node, self.by_time(node, "sends again", lambda: resender.run_once(writer), late_ms)
        )


class OrchestratorModel(ServiceCodeModel):
    """Deadlines fire by time; a deadline that fires too early and a cancellation count as faults."""

    def __init__(
        self,
        in_flight: MessagesInFlight,
        harness: Harness,
        handler: CheckoutService,
        saga_ids: tuple[str, ...],
        legal: frozenset[tuple[str, str]],
    ) -> None:
        super().__init__(ORCHESTRATOR, in_flight, harness)
        self._handler = handler
        self._saga_ids = saga_ids
        self._legal = legal

    def idle(self, node: Node) -> Iterator[Move]:
        for row in self._timers(node):
            yield from self.in_time(node, self._fire(node, row, overdue=False))
            if row.fired >= FIRINGS_BEFORE_OVERDUE:
                yield from self.in_time(node, self._fire(node, row, overdue=True))

    def untimely(self, node: Node) -> Iterator[Move]:
        steps = [("cancelled by the shopper", self._cancel(node, saga_id)) for saga_id in self._saga_ids]
        for row in self._timers(node):
            steps.append(("deadline too early", self._fire(node, row, overdue=False)))
            steps.append(("deadline overdue at once", self._fire(node, row, overdue=True)))
        for kind, step in steps:
            if step is not None:
                yield self._move(step, kind)

    def _timers(self, node: Node) -> list[Any]:
        database: Any = node.db
        return [row for name, rows in database if name == "timers" for _, row in rows]

    def _fire(self, node: Node, row: Any, *, overdue: bool) -> ModelStep | None:
        def fire(tx: Any) -> HandlerResult:
            return self._handler.fire(tx, [FiredTimer(row, overdue, 0)])

        what = f"{'overdue ' if overdue else ''}deadline of {':'.join(row.key)} passes"
        return self.by_time(node, what, lambda: self.harness.commit(fire), START_MS)

    def _cancel(self, node: Node, saga_id: str) -> ModelStep | None:
        refusal = Refused("cancelled", "by the shopper")
        envelope = Envelope(
            f"{saga_id}:cancel", CANCELLATION_REQUESTED, saga_id, refusal, encode(refusal), 1, None
        )

        def cancel(tx: Any) -> HandlerResult:
            return self._handler.handle(tx, [envelope])

        return self.by_time(node, f"cancels {saga_id}", lambda: self.harness.commit(cancel), START_MS)

    def check(self, before: Any, after: dict[str, dict[Any, Any]]) -> Iterator[str]:
        yield from super().check(before, after)
        tables = dict(before)
        states = {saga_id: saga.state for saga_id, saga in tables.get("saga", ())}
        applied = {key for key, _ in tables.get("saga_event_id", ())}
        for row in after.get("saga_event", {}).values():
            if (row.saga_id, row.event_id) in applied:
                yield f"I16: {row.event_id} was applied twice"
            for state in row.path:
                if (states.get(row.saga_id, "NONE"), state) not in self._legal:
                    yield f"I17: {states.get(row.saga_id, 'NONE')} became {state}"
                states[row.saga_id] = state


def standing(database: Database, step: str) -> frozenset[str]:
    """Return the sagas for which this step is done, or may yet be."""
    rows = dict(database).get("fence", ())
    states = (FenceState.RUNNING, FenceState.DONE, FenceState.UNDOING, FenceState.CONFIRMED)
    return frozenset(saga_id for (saga_id, of), fence in rows if of == step and fence.state in states)


def in_state(database: Database, state: str) -> frozenset[str]:
    """Return the sagas that are in `state`."""
    return frozenset(saga_id for saga_id, saga in dict(database).get("saga", ()) if saga.state == state)
