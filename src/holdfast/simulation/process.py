"""One simulated process of a service: built by the service's own `build`, and built anew after a crash."""

from collections.abc import Callable
from typing import Any

from holdfast.bus.memory import MemoryBus
from holdfast.contracts.topics import CART, GATEWAY, INVENTORY, ORCHESTRATOR, ORDER, PAYMENT
from holdfast.messaging.components import Components, Ports
from holdfast.messaging.memory_store import MemoryStore, MemoryTransaction
from holdfast.services.cart_crud import main as cart_crud
from holdfast.services.cart_crud.memory_store import MemoryCartTransaction
from holdfast.services.checkout_orchestrator import main as checkout_orchestrator
from holdfast.services.checkout_orchestrator.memory_store import MemorySagaTransaction
from holdfast.services.gateway_bff import main as gateway_bff
from holdfast.services.gateway_bff.memory_store import MemoryGatewayTransaction
from holdfast.services.inventory_write import main as inventory_write
from holdfast.services.inventory_write.memory_store import MemoryInventoryTransaction
from holdfast.services.order_create import main as order_create
from holdfast.services.order_create.memory_store import MemoryOrderTransaction
from holdfast.services.payment_gateway import main as payment_gateway
from holdfast.services.payment_gateway.call_lanes import limits
from holdfast.services.payment_gateway.charging import HORIZON_MS
from holdfast.services.payment_gateway.continuous import ContinuousCharges
from holdfast.services.payment_gateway.memory_store import MemoryPaymentTransaction
from holdfast.simulation.faults import Crash, Switch
from holdfast.simulation.ports import Network, SimBus, SimStore
from holdfast.simulation.provider import SimCaller, SimProvider
from holdfast.simulation.setup import ORDER_TOTAL_MAX_MINOR, Setup

TRANSACTIONS: dict[str, type[MemoryTransaction]] = {
    GATEWAY: MemoryGatewayTransaction,
    ORCHESTRATOR: MemorySagaTransaction,
    INVENTORY: MemoryInventoryTransaction,
    PAYMENT: MemoryPaymentTransaction,
    ORDER: MemoryOrderTransaction,
    CART: MemoryCartTransaction,
}

BUILDS: dict[str, Callable[[Ports[Any], Setup, SimProvider, Callable[[], int]], Components[Any]]] = {
    GATEWAY: lambda ports, _, __, chance: gateway_bff.build(ports, chance),
    ORCHESTRATOR: lambda ports, setup, *_: checkout_orchestrator.build(ports, setup.timers),
    INVENTORY: lambda ports, *_: inventory_write.build(ports),
    PAYMENT: lambda ports, _, provider, __: payment_gateway.build(ports, provider),
    ORDER: lambda ports, *_: order_create.build(ports, ORDER_TOTAL_MAX_MINOR),
    CART: lambda ports, *_: cart_crud.build(ports),
}


class Process:
    """Its actions are the rounds of its threads: each succeeds, fails, or crashes the process."""

    def __init__(
        self,
        name: str,
        service: str,
        setup: Setup,
        store: MemoryStore[Any],
        bus: MemoryBus,
        network: Network,
        provider: SimProvider,
        faults: Switch,
        clock: Callable[[], int],
        chance: Callable[[], int],
    ) -> None:
        self.name = name
        self.service = service
        self._setup = setup
        self._store = store
        self._memory_bus = bus
        self._network = network
        self._provider = provider
        self._faults = faults
        self._clock = clock
        self._chance = chance
        self.fenced_commits = 0
        self.start()

    def start(self) -> None:
        """Begin with nothing in memory."""
        self.frozen = False
        self._bus = SimBus(
            self.name,
            self.service,
            self._memory_bus,
            self._network,
            self._setup.batch_max,
            self._faults,
        )
        ports = Ports[Any](
            SimStore(self._store, self._faults), self._bus, self._clock, self.name, self._setup.partitions
        )
        self.components = BUILDS[self.service](ports, self._setup, self._provider, self._chance)
        self.caller = SimCaller(self._provider, self._seconds)
        self._charges: ContinuousCharges | None = None
        if isinstance(self.components, payment_gateway.PaymentComponents):
            self._charges = payment_gateway.keep_charging(
                self.components, self.caller, self._seconds, idle_s=0, linger_s=0
            )

    def _seconds(self) -> float:
        return self._clock() / 1000

    # -- what it could do now

    def stalled(self) -> bool:
        """Tell whether it stands still, maybe holding records that another process works on by now."""
        return self.frozen or self._holds_records()

    def _holds_records(self) -> bool:
        return bool(self._bus.consumers and self._bus.consumers[0].held)

    def ready(self) -> list[str]:
        """List the kinds of actions that would do something now."""
        kinds = []
        if not self.components.relay.is_idle():
            kinds.append("relay")
        if self._charges is not None:
            if not self.caller.is_idle():
                kinds.append("call")
            if self._charges.has_answers() or self._calls_due():
                kinds.append("charge")
        consumers = self._bus.consumers
        now = self._clock()
        if (
            not consumers
            or consumers[0].held
            or consumers[0].behind()
            or self.components.relay.has_published()
            or (self.components.manager.deferred and not self.components.manager.deferred.due_in_s())
            or any(task.due_ms <= now for task in self.components.manager.periodic_tasks)
        ):
            kinds.append("write")
        return kinds

    def _calls_due(self) -> bool:
        if not self._store.tables.tables.get("timers"):
            return False
        with self._store.transaction() as tx:
            return bool(tx.peek_due_calls(limits(1), HORIZON_MS))

    # -- actions; each returns whether anything was done

    def crash(self) -> bool:
        self._faults.fired["crash"] += 1
        raise Crash

    def freeze(self) -> bool:
        """Stop it; its next action continues it."""
        self.frozen = True
        self._faults.fired["freeze"] += 1
        return True

    def write(self) -> bool:
        before = self.components.manager.counters.fenced_commits
        done = self.components.manager.run_once(0)
        self.fenced_commits += self.components.manager.counters.fenced_commits - before
        return bool(done)

    def relay(self) -> bool:
        return self.components.relay.run_once(0)

    def charge(self) -> bool:
        """Do one round of the charges; if answers were there and it did nothing, do one more."""
        if self._charges is None:
            return False
        answered, under_way = self._charges.has_answers(), self._charges.under_way()
        if not self._charges.run_once() and answered:
            self._charges.run_once()
        return answered or self._charges.under_way() != under_way

    def call(self) -> bool:
        answered = self.caller.answer()
        if answered and self._faults.strikes("crash.after_call"):
            raise Crash
        return answered
