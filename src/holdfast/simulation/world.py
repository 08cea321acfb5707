"""The simulated platform: every process and database, one bus, one provider, one clock; moved by actions.

Knows what can happen; `run` draws or replays which action comes next.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from holdfast.bus.memory import LeaseRow, MemoryBus
from holdfast.bus.partitioner import partition_of
from holdfast.bus.port import Message, TopicPartition
from holdfast.contracts.codec import encode
from holdfast.contracts.messages import Refused
from holdfast.contracts.topics import (
    CART,
    GATEWAY,
    INVENTORY,
    ORCHESTRATOR,
    READS,
    TOPICS,
    all_topics,
)
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.fence import Fence
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.ids import uuid7
from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.parked import LogPosition
from holdfast.saga.state import CANCELLATION_REQUESTED
from holdfast.services.cart_crud.cart_edits import Price
from holdfast.services.cart_crud.domain import Cart
from holdfast.simulation.faults import Crash, Switch
from holdfast.simulation.poison import NO_STATE, UNDOABLE, ExpectedPark, poison, raising_command
from holdfast.simulation.ports import Network
from holdfast.simulation.process import TRANSACTIONS, Process
from holdfast.simulation.provider import OUTAGES, SimProvider
from holdfast.simulation.setup import PRICES_MINOR, START_MS, Setup
from holdfast.simulation.shoppers import USER, SimulatedShoppers

LEASE_S = 1.0
GATEWAY_1 = f"{GATEWAY}-1"
"""The process that shoppers call."""


class Action(NamedTuple):
    """One thing that happens; it does nothing if it is not possible when it is run."""

    kind: str
    who: str = ""
    fault: str = ""


class Observation(NamedTuple):
    """What an observer would have seen: an action that began, or (if `to` is not empty) a message sent.

    `outcome` is the fault that the action was given, or what became of the message.
    """

    who: str
    to: str
    what: str
    outcome: str


class World:
    """All processes, stores, the bus and the provider; equal setups and equal actions give equal worlds."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.now_ms = START_MS
        self.skew_ms = dict.fromkeys(TRANSACTIONS, 0)
        self.faults = Switch()
        self.observed: list[Observation] = []
        self.bus = MemoryBus(lambda: self.now_ms / 1000, lease_s=LEASE_S)
        self.bus.create_topics(all_topics(), setup.partitions)
        self.network = Network(self.bus, self._observe)
        self.provider = SimProvider(self.faults)
        self.stores = {service: self._store(service) for service in TRANSACTIONS}
        self.shoppers = SimulatedShoppers(setup, self.stores[GATEWAY], self.stores[CART], self.faults)
        self.processes = {
            f"{service}-{n}": Process(
                f"{service}-{n}",
                service,
                setup,
                self.stores[service],
                self.bus,
                self.network,
                self.provider,
                self.faults,
                lambda: self.now_ms,
                self.shoppers.chance,
            )
            for service, count in setup.instances
            for n in range(1, count + 1)
        }
        self.added: dict[tuple[str, str], int] = {}
        self.expected_parks: dict[LogPosition, ExpectedPark] = {}
        self._fill()

    def _store(self, service: str) -> MemoryStore[Any]:
        return MemoryStore(TRANSACTIONS[service], lambda: self.now_ms + self.skew_ms[service])

    def _fill(self) -> None:
        """Set prices and stock, and put into every cart what its shopper wants."""
        with self.stores[INVENTORY].transaction() as tx:
            tx.set_initial_stock(self.setup.stock)
        with self.stores[CART].transaction() as tx:
            tx.save_prices([Price(sku, minor, "GBP") for sku, minor in PRICES_MINOR.items()])
            for spec in self.setup.checkouts:
                self.added |= {(spec.cart_id, sku): n for sku, n in spec.pieces}
                tx.save_carts([Cart(spec.cart_id, USER, 1, spec.pieces)])

    def table(self, service: str, name: str) -> dict[Any, Any]:
        """Return a committed table."""
        return self.stores[service].tables.tables.get(name, {})

    # -- actions

    def act(self, action: Action) -> bool:
        """Run one action; return whether it did anything."""
        self.observed.append(Observation(action.who, "", action.kind, action.fault))
        self.faults.arm(action.fault)
        process = self.processes.get(GATEWAY_1 if action.kind == "start" else action.who)
        try:
            if process is None or action.kind == "start":
                return bool(getattr(self, f"_{action.kind}")(action.who))
            process.frozen = False
            return bool(getattr(process, action.kind)())
        except Crash:
            assert process is not None, "only processes crash"
            process.start()
            return True
        finally:
            self.faults.arm("")

    def _observe(self, who: str, message: Message, outcome: str) -> None:
        headers = dict(message.headers)
        types = TOPICS[message.topic].types if message.topic in TOPICS else {}
        readers = types.get(headers["ce_type"].decode(), frozenset({message.topic}))
        self.observed.append(Observation(who, ",".join(sorted(readers)), headers["ce_id"].decode(), outcome))

    def _tick(self, ms: str) -> bool:
        self.now_ms += int(ms)
        return True

    def _start(self, number: str) -> bool:
        gateway = self.processes[GATEWAY_1]
        gateway.frozen = False
        return self.shoppers.ask(int(number), gateway.components.starter)  # type: ignore[attr-defined]

    def _arrive(self, position: str) -> bool:
        return self.network.arrive(int(position))

    def _land(self, position: str) -> bool:
        return self.provider.land(int(position))

    def _outage(self, which: str) -> bool:
        """Let the provider fail some calls, until the outage `over`."""
        self.provider.outage = OUTAGES[which]
        return True

    def _hold(self, number: str) -> bool:
        """Let an operator put a cart on hold, or release it."""
        cart = self.table(CART, "cart")[self.setup.checkouts[int(number)].cart_id, USER]
        with self.stores[CART].transaction() as tx:
            tx.hold_cart(cart.key, "" if cart.held else "fraud check")
        self.faults.fired["hold"] += 1
        return True

    def _add(self, number: str) -> bool:
        """Let the shopper put one more piece of each cheap product into the cart."""
        cart: Cart = self.table(CART, "cart")[self.setup.checkouts[int(number)].cart_id, USER]
        pieces = dict(cart.pieces)
        for sku in ("A", "B"):
            pieces[sku] = pieces.get(sku, 0) + 1
            self.added[cart.cart_id, sku] = self.added.get((cart.cart_id, sku), 0) + 1
        with self.stores[CART].transaction() as tx:
            tx.save_carts([cart._replace(version=cart.version + 1, pieces=tuple(pieces.items()))])
        self.faults.fired["add"] += 1
        return True

    def _cancel(self, number: str) -> bool:
        """Let the shopper cancel the checkout, through the orchestrator's writer."""
        saga_id = self.shoppers.accepted.get(int(number))
        process = self.processes[f"{ORCHESTRATOR}-1"]
        if saga_id is None or process.stalled():
            return False
        cause = Refused("cancelled", "by the shopper")
        event_id, value = f"{saga_id}:cancel", encode(cause)
        envelope = Envelope(event_id, CANCELLATION_REQUESTED, saga_id, cause, value, 1, None)
        handler = process.components.checkout_service  # type: ignore[attr-defined]

        def cancel(tx: Any) -> tuple[HandlerResult, None]:
            return handler.handle(tx, [envelope]), None

        process.components.manager.submit(cancel)
        self.faults.fired["cancel"] += 1
        return process.write()

    def _rewind(self, service: str) -> bool:
        """Reset a group's offsets to 0: everything is delivered once more."""
        leases = self.bus.state.leases
        for partition in self._partitions(service):
            row = leases.get((service, partition), LeaseRow())
            leases[service, partition] = row._replace(owner=None, epoch=row.epoch + 1, committed=0)
        self.faults.fired["rewind"] += 1
        return True

    def _clock(self, change: str) -> bool:
        """Let a database's clock jump."""
        service, _, ms = change.partition("+")
        self.skew_ms[service] = int(ms)
        self.faults.fired["clock"] += 1
        return True

    def _poison(self, what: str) -> bool:
        """Publish a record that cannot be processed, under the key of an accepted saga or of a new id."""
        service, _, shape = what.partition("+")
        sagas = [*self.shoppers.accepted.values(), self._new_id()]
        saga_id = sagas[len(self.expected_parks) % len(sagas)]
        self._inject("poison", *poison(service, shape, saga_id))
        return True

    def _bug(self, service: str) -> bool:
        """Publish a command whose fence row is in an unknown state, so that the handler raises."""
        saga_id = self._new_id()
        with self.stores[service].transaction() as tx:
            tx.save_fences(UNDOABLE[service].step, [Fence(saga_id, NO_STATE)], ())
        self._inject("bug", *raising_command(service, saga_id))
        return True

    def _new_id(self) -> str:
        return str(uuid7(self.now_ms, self.shoppers.chance()))

    def _inject(self, kind: str, message: Message, source: str | None, expected: ExpectedPark) -> None:
        partition = TopicPartition(message.topic, partition_of(message.key, self.setup.partitions))
        position = LogPosition(*partition, len(self.bus.state.log[partition]))
        self.expected_parks[position] = expected
        bus = self.bus.of(source) if source else self.bus
        bus.publisher().publish([message])
        self.faults.fired[kind] += 1

    # -- what is left to do

    def lag(self) -> list[str]:
        """Name the groups that have not consumed everything."""
        leases, log = self.bus.state.leases, self.bus.state.log
        return [
            f"{service} has not consumed {partition.topic}/{partition.partition}"
            for service in TRANSACTIONS
            for partition in self._partitions(service)
            if leases.get((service, partition), LeaseRow()).committed < len(log[partition])
        ]

    def next_moment_ms(self) -> int:
        """Return when the next waiting row is due: at least 500 ms and at most 30 s from now."""
        moments = [self.now_ms + 30_000]
        for service, store in self.stores.items():
            tables = store.tables.tables
            skew = self.skew_ms[service]
            moments += [row.due_ms - skew for row in tables.get("timers", {}).values()]
            if tables.get("outbox"):
                moments.append(self.now_ms + 3_000)
        return max(self.now_ms + 500, min(moments))

    def _partitions(self, service: str) -> Sequence[TopicPartition]:
        topics = READS[service]
        return [TopicPartition(topic, n) for topic in topics for n in range(self.setup.partitions)]
