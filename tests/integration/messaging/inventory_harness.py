"""inventory-write on its real database and a bus in memory, one step at a time."""

import time
from typing import Any

from tests.samples import saga_id

from holdfast.bus.memory import MemoryBus
from holdfast.contracts.messages import Line, ReserveInventory
from holdfast.contracts.topics import EVENTS, INVENTORY, ORCHESTRATOR, PARTITIONS_EMBEDDED, all_topics
from holdfast.messaging.components import Components, Ports
from holdfast.messaging.envelope import seal
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.services.inventory_write import main as inventory_write
from holdfast.services.inventory_write.store import PostgresInventoryTransaction

MANY = 200
NOT_AFTER_MS = 4_000_000_000_000

Store = PostgresStore[PostgresInventoryTransaction]


class Inventory:
    """inventory-write on its real database; each saga reserves one piece of a code of its own."""

    def __init__(self, store: Store) -> None:
        self.now_ms = 0
        self.store = store
        self.bus = MemoryBus(time.monotonic)
        self.bus.create_topics(all_topics(), PARTITIONS_EMBEDDED)
        ports = Ports[Any](
            store, self.bus.of(INVENTORY), lambda: self.now_ms, "survivor", PARTITIONS_EMBEDDED
        )
        self.parts: Components[Any] = inventory_write.build(ports)
        with store.transaction() as tx:
            tx.set_initial_stock([(f"sku-{n}", 10) for n in range(1, MANY + 1)])

    def send(self, *numbers: int) -> None:
        commands = []
        for n in numbers:
            saga = saga_id(n)
            payload = ReserveInventory((Line(f"sku-{n}", 1, 100),), NOT_AFTER_MS)
            message_id = f"{saga}:inventory:do"
            commands.append(seal(message_id, "ReserveInventory", saga, payload, "checkout-orchestrator"))
        self.bus.of(ORCHESTRATOR).publisher().publish(commands)

    def step(self) -> int:
        return self.parts.manager.run_once(0)

    def answered(self) -> set[str]:
        while self.parts.relay.run_once(0):
            pass
        places = [place for place in self.bus.state.log if place.topic == EVENTS]
        return {(record.key or b"").decode() for place in places for record in self.bus.state.log[place]}

    def unread(self) -> int:
        consumer = self.parts.manager.consumer
        return sum(consumer.end_offset(p) - consumer.committed(p) for p in consumer.assignment())

    def parked(self) -> int:
        with self.store.transaction() as tx:
            return int(tx.read("select count(*) from parked")[0][0])
