"""Any saga definition as a small world: the real orchestrator, and for each step a stand-in behind the fence.

What is proven is the definition: that its steps and reactions lead each saga to one of its two ends, whole.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import EmptyPayload, Payload, Refused
from holdfast.messaging.handler import HandlerResult, OutboxMessage
from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.participant import Done, ParticipantHandler
from holdfast.messaging.timers import TimerSettings
from holdfast.saga.definition import SagaDefinition, StepClass
from holdfast.services.checkout_orchestrator.checkout_service import CheckoutService
from holdfast.services.checkout_orchestrator.memory_store import MemorySagaTransaction
from holdfast.simulation.books import legal_edges
from holdfast.simulation.proof.harness import Counting, Endings, HandlerHarness, TestMessage
from holdfast.simulation.proof.service_models import MessagesInFlight, Move, Node, ServiceModel
from holdfast.simulation.proof.services import (
    OrchestratorModel,
    ParticipantModel,
    ServiceCodeModel,
    StarterModel,
    in_state,
    standing,
)
from holdfast.simulation.proof.space import State
from holdfast.simulation.setup import START_MS

STARTER, ORCHESTRATOR = "starter", "orchestrator"


class Part(NamedTuple):
    """One way in which a saga may go: `refuses` names the step that refuses; empty: none does."""

    definition: SagaDefinition
    examples: Mapping[str, Payload]
    refuses: str = ""
    sagas: int = 1

    @property
    def name(self) -> str:
        """Name it for the table."""
        ending = f"{self.refuses} is refused" if self.refuses else "nothing is refused"
        return f"{self.definition.name}, {ending}"


def parts(definition: SagaDefinition, examples: Mapping[str, Payload]) -> list[Part]:
    """List every way in which the participants of a saga may answer."""
    refusable = [step.name for step in definition.steps if step.failed is not None]
    return [Part(definition, examples, name) for name in ("", *refusable)]


class DefinitionStarter(StarterModel):
    """Sends the first event again until it hears of the end."""

    def __init__(
        self, in_flight: MessagesInFlight, harness: HandlerHarness, first: tuple[TestMessage, ...]
    ) -> None:
        super().__init__(STARTER, in_flight, harness)
        self._first = first

    def idle(self, node: Node) -> Iterator[Move]:
        database: Any = node.db
        ended = dict(dict(database).get("ended", ()))
        for message in self._first:
            if message.saga_id not in ended:
                yield from self.in_time(node, self._again(node, message))

    def _again(self, node: Node, message: TestMessage) -> Any:
        reply = OutboxMessage(message.message_id, message.kind, message.saga_id, message.value)
        what = f"sends {message.message_id} again"
        return self.by_time(
            node, what, lambda: self.harness.commit(lambda _: HandlerResult([reply])), START_MS
        )


class DefinitionModel:
    """The system that is searched: the starter, the orchestrator, and one stand-in a step."""

    def __init__(self, part: Part) -> None:
        self._part = part
        d = self._definition = part.definition
        self.sagas = tuple(str(UUID(int=n)) for n in range(1, part.sagas + 1))
        self._senders = (STARTER, ORCHESTRATOR, *(step.name for step in d.steps))
        self._readers = dict.fromkeys((d.completed_event, d.failed_event), 0)
        for index, step in enumerate(d.steps, start=2):
            self._readers |= {kind: index for kind in (step.do, step.undo, step.confirm) if kind}
        types: dict[str, type] = {kind: type(payload) for kind, payload in part.examples.items()}
        types |= {step.failed: types.get(step.failed, Refused) for step in d.steps if step.failed}
        in_flight = MessagesInFlight(self._route, lambda message: message.message_id)
        handler = CheckoutService({d.version: d}, 1, TimerSettings())
        harness = HandlerHarness(ORCHESTRATOR, handler, MemorySagaTransaction, types)
        first = self._first = tuple(self._begin(saga_id) for saga_id in self.sagas)
        self.models: tuple[ServiceModel, ...] = (
            DefinitionStarter(in_flight, HandlerHarness(STARTER, Endings(), MemoryTransaction, {}), first),
            OrchestratorModel(in_flight, harness, handler, self.sagas, legal_edges(d)),
            *(self._stand_in(in_flight, index) for index in range(len(d.steps))),
        )

    def _begin(self, saga_id: str) -> TestMessage:
        kind = self._definition.started_by
        value = encode(self._part.examples.get(kind, EmptyPayload()))
        return TestMessage(f"{saga_id}:initiated", kind, saga_id, value, STARTER)

    def _stand_in(self, in_flight: MessagesInFlight, index: int) -> ServiceModel:
        step, examples = self._definition.steps[index], self._part.examples
        answer: Done | Refused = Done(examples.get(step.done, EmptyPayload()))
        if step.name == self._part.refuses:
            answer = Refused("rehearsed", f"{step.name} is refused")
        harness = HandlerHarness(step.name, ParticipantHandler(Counting(step, answer)), MemoryTransaction, {})
        if step.step_class is StepClass.COMPENSATABLE:
            return ParticipantModel(step.name, in_flight, harness, step.name)
        return ServiceCodeModel(step.name, in_flight, harness)

    def _route(self, message: TestMessage) -> tuple[int, int]:
        saga = self.sagas.index(message.saga_id)
        reader = self._readers.get(message.kind, 1)
        if reader != 1:
            return reader, saga
        return reader, saga * len(self._senders) + self._senders.index(message.sender)

    def start(self) -> State:
        numbers = [self.models[0].nodes.number(Node((), ((),) * len(self.sagas), self._first))]
        for index, model in enumerate(self.models[1:]):
            lanes = len(self.sagas) * (1 if index else len(self._senders))
            numbers.append(model.nodes.number(Node((), ((),) * lanes)))
        return (*numbers, 0)

    # -- what must hold

    def safety(self, state: State) -> str:
        failed = in_state(self._database(1, state), self._definition.failed_state)
        for index, step in enumerate(self._definition.steps, start=2):
            if failed and failed & self.held(index, state[index]):
                return f"I12: failed, but {step.name} stands"
            for (_, verb), times in dict(self._database(index, state)).get("times", ()):
                if times > 1:
                    return f"I16: {step.name} was {verb} {times} times"
        return ""

    def held(self, index: int, node: int) -> frozenset[str]:
        """Return the sagas whose step stands here."""
        if index < 2:
            return frozenset()
        return standing(self.models[index].nodes.values[node].db, self._definition.steps[index - 2].name)

    def rest(self, state: State) -> tuple[bool, str]:
        """Tell whether all sagas ended; then each step was done and kept, or undone, or never done."""
        d = self._definition
        ended = dict(dict(self._database(0, state)).get("ended", ()))
        orchestrated = dict(dict(self._database(1, state)).get("saga", ()))
        for saga_id in self.sagas:
            saga = orchestrated.get(saga_id)
            if saga is None or saga.state not in d.terminal or saga_id not in ended:
                return False, ""
            completed = saga.state == d.completed_state
            if ended[saga_id] != (d.completed_event if completed else d.failed_event):
                return True, f"I29: {saga.state}, but the starter heard {ended[saga_id]}"
            for index, step in enumerate(d.steps, start=2):
                times = dict(dict(self._database(index, state)).get("times", ()))
                done, undone, confirmed = (
                    times.get((saga_id, v), 0) for v in ("done", "undone", "confirmed")
                )
                if completed and step.confirm and done and not undone and not confirmed:
                    return False, ""
                if (done, undone, confirmed) not in _ends(completed=completed, confirm=bool(step.confirm)):
                    return True, f"I13: {saga.state}: {step.name} was done, undone, confirmed {times}"
        return True, ""

    def _database(self, index: int, state: State) -> Any:
        return self.models[index].nodes.values[state[index]].db


def _ends(*, completed: bool, confirm: bool) -> tuple[tuple[int, int, int], ...]:
    """Return how often a step may have been done, undone and confirmed when its saga is over."""
    return ((1, 0, int(confirm)),) if completed else ((0, 0, 0), (1, 1, 0))
