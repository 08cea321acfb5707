"""CHECKOUT as a small world: the models of its six services, and the books over them."""

from typing import Any, NamedTuple

from holdfast.bus.port import Message
from holdfast.contracts.steps import GATEWAY, ORCHESTRATOR, PAYMENT, SAGA_SERVICES, STEPS, StepRow
from holdfast.contracts.topics import TOPICS
from holdfast.sagas.checkout import CHECKOUT
from holdfast.simulation.books import LEGAL, settled, unfinished
from holdfast.simulation.proof.payment import ChargeLoopModel, PaymentModel, charged_twice, held_for
from holdfast.simulation.proof.real_harness import Database, RealHarness, freeze, plain, thaw
from holdfast.simulation.proof.service_models import MessagesInFlight, Node, ServiceModel
from holdfast.simulation.proof.services import (
    GatewayModel,
    OrchestratorModel,
    ParticipantModel,
    ServiceCodeModel,
    in_state,
    standing,
)
from holdfast.simulation.proof.space import State
from holdfast.simulation.setup import CheckoutSpec, Setup
from holdfast.simulation.world import Action, World

MODEL_ORDER = SAGA_SERVICES
ROWS = dict(enumerate(STEPS, start=len(MODEL_ORDER) - len(STEPS)))
"""The steps by the index of their models."""
DECLINED = "pm_card_chargeDeclined"


class Scope(NamedTuple):
    """A small world to be searched. `held`: the cart is put on hold before its saga comes to it."""

    name: str
    setup: Setup
    held: bool = False

    @property
    def sagas(self) -> int:
        """How many there are."""
        return len(self.setup.checkouts)


ONE = (
    Scope("bought", Setup((CheckoutSpec("cart-0", (("A", 1),)),), (("A", 1),))),
    Scope("card declined", Setup((CheckoutSpec("cart-0", (("A", 1),), DECLINED),), (("A", 1),))),
    Scope("order refused", Setup((CheckoutSpec("cart-0", (("C", 1),)),), (("C", 1),))),
    Scope("cart on hold", Setup((CheckoutSpec("cart-0", (("A", 1),)),), (("A", 1),)), held=True),
    Scope("out of stock", Setup((CheckoutSpec("cart-0", (("A", 1),)),), (("A", 0),))),
)
"""One saga, with each of the answers that can end it."""

TWO = (
    Scope(
        "the last piece",
        Setup((CheckoutSpec("cart-0", (("A", 1),)), CheckoutSpec("cart-1", (("A", 1),))), (("A", 1),)),
    ),
    Scope(
        "the last piece, one card declined",
        Setup(
            (CheckoutSpec("cart-0", (("A", 1),), DECLINED), CheckoutSpec("cart-1", (("A", 1),))), (("A", 1),)
        ),
    ),
)
"""Two sagas that want the same piece."""


def scope_named(name: str) -> Scope:
    """Return the scope of this name."""
    return next(scope for scope in (*ONE, *TWO) if scope.name == name)


def _participant(row: StepRow, in_flight: MessagesInFlight, setup: Setup) -> ServiceModel:
    if row.service == PAYMENT:
        return PaymentModel(in_flight, setup)
    harness = RealHarness(row.service, setup)
    if row.undo:
        return ParticipantModel(row.service, in_flight, harness, row.name)
    return ServiceCodeModel(row.service, in_flight, harness)


class CheckoutModel:
    """The system that is searched: one model for each service."""

    def __init__(self, scope: Scope) -> None:
        self._world = World(scope.setup)
        for number in range(len(scope.setup.checkouts)):
            self._world.act(Action("start", str(number)))
            if scope.held:
                self._world.act(Action("hold", str(number)))
        self.sagas = tuple(self._world.shoppers.checkouts())
        self._model_index_of = {service: index for index, service in enumerate(MODEL_ORDER)}
        in_flight = MessagesInFlight(self._route, lambda message: dict(message.headers)["ce_id"].decode())
        setup, orchestrator = scope.setup, RealHarness(ORCHESTRATOR, scope.setup)
        handler = orchestrator.parts.checkout_service  # type: ignore[attr-defined]
        self.models: tuple[ServiceModel, ...] = (
            GatewayModel(GATEWAY, in_flight, RealHarness(GATEWAY, setup)),
            OrchestratorModel(in_flight, orchestrator, handler, self.sagas, LEGAL),
            *(_participant(row, in_flight, setup) for row in STEPS),
        )
        self._failed: dict[int, frozenset[str]] = {}
        self._standing: dict[tuple[int, int], frozenset[str]] = {}
        self._wrong: dict[tuple[int, int], str] = {}

    def _route(self, message: Message) -> tuple[int, int]:
        """Return a message's reader and lane: one for each saga (and, at the orchestrator, each sender).

        A topic keeps the order of each sender's messages; those of several senders mix in any order.
        """
        headers = dict(message.headers)
        (reader,) = TOPICS[message.topic].types[headers["ce_type"].decode()]
        saga = self.sagas.index(message.key.decode())
        if reader != ORCHESTRATOR:  # only the orchestrator is written to by several
            return self._model_index_of[reader], saga
        return self._model_index_of[reader], saga * len(MODEL_ORDER) + self._model_index_of[
            headers["ce_source"].decode()
        ]

    def start(self) -> State:
        numbers = []
        for service, model in zip(MODEL_ORDER, self.models, strict=True):
            tables = self._world.stores[service].tables.tables
            memory: Any = ChargeLoopModel() if service == PAYMENT else ()
            if service == GATEWAY:
                memory = tuple(plain(m) for _, batch in tables["outbox"].values() for m in batch)
            lanes = len(self.sagas) * (len(MODEL_ORDER) if service == ORCHESTRATOR else 1)
            numbers.append(model.nodes.number(Node(freeze(tables), ((),) * lanes, memory)))
        return (*numbers, 0)

    # -- what must hold

    def safety(self, state: State) -> str:
        failed = self._failed.get(state[1])
        if failed is None:
            failed = self._failed[state[1]] = in_state(self._database(1, state), CHECKOUT.failed_state)
        for index in ROWS:
            held = self.held(index, state[index])
            if failed and not failed.isdisjoint(held):
                return f"I12: {sorted(failed & held)} FAILED, but stands at {MODEL_ORDER[index]}"
        wrong = (self._wrong.get((index, state[index]), "") for index in ROWS) if self._wrong else ()
        return next(filter(None, wrong), "")

    def held(self, index: int, node: int) -> frozenset[str]:
        """Return the sagas whose step stands at this participant, or for which money is held."""
        known = self._standing.get((index, node))
        return self._look(index, node) if known is None else known

    def _look(self, index: int, node: int) -> frozenset[str]:
        """Look at a participant's node for the first time."""
        service = MODEL_ORDER[index]
        database: Database = self.models[index].nodes.values[node].db
        held = standing(database, ROWS[index].name)
        wrong = ""
        if service == PAYMENT:
            memory = self.models[index].nodes.values[node].memory
            held |= held_for(memory)
            wrong = "I04: charged twice" if charged_twice(memory) else ""
        for _, row in dict(database).get("stock", ()):
            if row.on_hand < 0 or row.reserved < 0 or row.sold > row.initial:
                wrong = f"I07: {row}"
            elif row.on_hand + row.reserved + row.sold != row.initial:
                wrong = f"I06: {row}"
        self._standing[index, node] = held
        if wrong:
            self._wrong[index, node] = wrong
        return held

    def rest(self, state: State) -> tuple[bool, str]:
        for index, service in enumerate(MODEL_ORDER):
            self._world.stores[service].tables = thaw(self._database(index, state))
        payment = self._model_index_of[PAYMENT]
        loop: ChargeLoopModel = self.models[payment].nodes.values[state[payment]].memory
        self._world.provider.ledger = list(loop.provider.ledger)
        if loop.abandoned or loop.provider.late or any(unfinished(self._world)):
            return False, ""
        broken = settled(self._world)
        return True, str(broken[0]) if broken else ""

    def _database(self, index: int, state: State) -> Database:
        database: Database = self.models[index].nodes.values[state[index]].db
        return database
