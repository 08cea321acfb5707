"""The wiring of the simulation: memory stores, the memory bus, a clock that jumps to what comes next."""

from typing import Any, cast

from tests.platforms.delivery_faults import FaultyBus
from tests.platforms.one_process import USER, OneProcess, Wiring

from holdfast.bus.memory import LeaseRow, MemoryBus
from holdfast.bus.port import TopicPartition
from holdfast.contracts.codec import decode_as
from holdfast.contracts.messages import CheckoutInitiated
from holdfast.contracts.steps import PATIENCE_OF_STEP_MS
from holdfast.contracts.topics import GATEWAY, ORDER, READS
from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.parked import LogPosition
from holdfast.messaging.timers import TimerSettings
from holdfast.services.gateway_bff.domain import Checkout
from holdfast.simulation.books import settled
from holdfast.simulation.faults import Switch
from holdfast.simulation.poison import ExpectedPark
from holdfast.simulation.process import TRANSACTIONS
from holdfast.simulation.provider import SimProvider
from holdfast.simulation.setup import START_MS
from holdfast.simulation.world import World

HOUR_MS = 3_600_000
FURTHEST_MS = 20_000
"""The longest jump: outcome requests and repeated starts go by age and have no row with a due time."""


class MemoryWorld:
    """Databases, bus, provider and clock of one platform, with what the simulation's books read."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.stores: dict[str, MemoryStore[Any]] = {
            service: MemoryStore(transaction, lambda: self.now_ms)
            for service, transaction in TRANSACTIONS.items()
        }
        self.bus = MemoryBus(lambda: self.now_ms / 1000, lease_s=1000.0)
        self.provider = SimProvider(Switch())
        self.shoppers = self
        self.accepted: dict[int, str] = {}
        self.contradictions: set[str] = set()
        self.added: dict[tuple[str, str], int] = {}
        self.expected_parks: dict[LogPosition, ExpectedPark] = {}

    def wiring(self) -> Wiring:
        return Wiring(
            name="memory",
            stores=self.stores,
            bus=FaultyBus(self.bus.of),
            provider=self.provider,
            monotonic_ms=lambda: self.now_ms,
            rest=self._rest,
            order=self._order,
            books=self._books,
            timers=TimerSettings(patience_of_step_ms=PATIENCE_OF_STEP_MS),
            ask_every_ms=60_000,
            resend_after_ms=60_000,
            limit_ms=2 * HOUR_MS,
        )

    def _books(self, platform: OneProcess) -> list[str]:
        self.accepted = {number: buying.saga_id for number, buying in enumerate(platform.bought)}
        self.added = {
            (row.cart_id, line.sku): line.quantity
            for saga_id, row in self.checkouts().items()
            for line in self.initiated(saga_id).lines
        }
        return [str(violation) for violation in settled(cast("World", self))]

    def _order(self, saga_id: str) -> tuple[Any, ...] | None:
        order = self.table(ORDER, "orders").get(saga_id)
        if order is None:
            return None
        skus, quantities = [line.sku for line in order.lines], [line.quantity for line in order.lines]
        return order.status, order.user_id, order.total_minor, skus, quantities

    def _rest(self) -> None:
        moments = [self.now_ms + FURTHEST_MS]
        for store in self.stores.values():
            moments += [row.due_ms for row in store.tables.tables.get("timers", {}).values()]
        self.now_ms = max(self.now_ms + 500, min(moments))

    # -- what the books ask

    def table(self, service: str, name: str) -> dict[Any, Any]:
        return self.stores[service].tables.tables.get(name, {})

    def lag(self) -> list[str]:
        state = self.bus.state
        return [
            f"{service} has not consumed {topic}/{partition}"
            for service in TRANSACTIONS
            for topic in READS[service]
            for partition in range(state.partitions[topic])
            if state.leases.get((service, TopicPartition(topic, partition)), LeaseRow()).committed
            < len(state.log[TopicPartition(topic, partition)])
        ]

    def checkouts(self) -> dict[str, Checkout]:
        return {saga_id: row for saga_id, (row, _) in self.table(GATEWAY, "checkout").items()}

    def initiated(self, saga_id: str) -> CheckoutInitiated:
        row, value = self.table(GATEWAY, "checkout")[saga_id]
        assert row.user_id == USER
        return decode_as(CheckoutInitiated, value)


def memory_platform() -> OneProcess:
    """Make a platform in memory that holds only stock and prices."""
    return OneProcess(MemoryWorld().wiring())
