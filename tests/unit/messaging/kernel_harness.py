"""A harness for the kernel: one service with a scripted handler, in memory, with a virtual clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.origin import publish_as_written, record_as_written
from tests.samples import SAMPLES, saga_id

from holdfast.bus.memory import MemoryBus
from holdfast.bus.port import BusUnavailable, Message, MessageRefused, PublishFailed, Record, TopicPartition
from holdfast.contracts.codec import encode
from holdfast.contracts.topics import (
    INVENTORY,
    INVENTORY_COMMANDS,
    ORCHESTRATOR,
    PARTITIONS_EMBEDDED,
    all_topics,
)
from holdfast.messaging.batch_processor import BatchProcessor
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.envelope import Envelope, seal
from holdfast.messaging.handler import HandlerResult, OutboxMessage
from holdfast.messaging.memory_store import MemoryStore, MemoryTransaction
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.producer import ProducerManager
from holdfast.messaging.relay import Relay
from holdfast.messaging.store import RowsUnavailable, StatementFailed, StoreUnavailable

START_MS = 1_800_000_000_000


class Clock:
    """Milliseconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class ScriptedHandler:
    """Notes each saga in table `seen` and answers InventoryReserved; fails where the test says so."""

    bugs: set[str] = field(default_factory=set)
    parks: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    unavailable: int = 0
    batches: list[int] = field(default_factory=list)

    def handle(self, tx: MemoryTransaction, envelopes: Sequence[Envelope]) -> HandlerResult:
        handled = HandlerResult()
        self.batches.append(len(envelopes))
        if any(envelope.saga_id in self.locked for envelope in envelopes):
            raise RowsUnavailable("as scripted: another transaction holds it")
        if any(envelope.saga_id in self.refused for envelope in envelopes):
            raise StatementFailed("54000: as scripted")
        self.order += [envelope.message_id for envelope in envelopes]
        for envelope in envelopes:
            saga = envelope.saga_id
            seen = tx.table("seen")
            seen[saga] = seen.get(saga, 0) + 1
            if saga in self.bugs:
                raise ZeroDivisionError(f"the handler's bug with {saga}")
            if saga in self.parks:
                handled.park(envelope, "impossible_command", "as scripted")
                continue
            value = encode(SAMPLES["InventoryReserved"])
            reply_id = f"{saga}:inventory:done"
            handled.messages_to_seal.append(
                OutboxMessage(reply_id, "InventoryReserved", saga, value, envelope.message_id)
            )
        if self.unavailable:
            self.unavailable -= 1
            raise StoreUnavailable("as scripted")
        return handled


@dataclass
class ScriptedPublisher:
    """Publishes to `bus`, fails where the test says so, and notes every batch."""

    bus: MemoryBus
    errors: list[Exception] = field(default_factory=list)
    refused_topics: set[str] = field(default_factory=set)
    batches: list[list[Message]] = field(default_factory=list)
    opened: int = 0
    during: Callable[[], None] = lambda: None

    def publish(self, batch: Sequence[Message]) -> None:
        self.batches.append(list(batch))
        self.during()
        if any(message.topic in self.refused_topics for message in batch):
            raise MessageRefused("as scripted")
        if self.errors:
            raise self.errors.pop(0)
        self.bus.of(INVENTORY).publisher().publish(batch)

    def end_offset(self, place: TopicPartition) -> int:
        return self.bus.publisher().end_offset(place)

    def close(self) -> None:
        self.batches.append([])


class KernelHarness:
    """inventory-write's place in the kernel, with a scripted handler."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.bus = MemoryBus(lambda: self.clock.now_ms / 1000)
        self.bus.create_topics(all_topics(), PARTITIONS_EMBEDDED)
        self.store = MemoryStore(MemoryTransaction, self.clock)
        self.handler = ScriptedHandler()
        self.processor = BatchProcessor(INVENTORY, self.store, self.handler)
        self.publisher = ScriptedPublisher(self.bus)
        self.relay = Relay(ProducerManager(_Publishing(self.bus, self.publisher)), "me")
        self.manager = self.new_manager()

    def new_manager(
        self, tasks: Sequence[PeriodicTask[MemoryTransaction]] = ()
    ) -> KafkaConsumerManager[MemoryTransaction]:
        """Join the group once more."""
        return KafkaConsumerManager(
            self.bus, [INVENTORY_COMMANDS], self.processor, self.relay, self.clock, tasks
        )

    def send(self, *numbers: int) -> None:
        """Publish a ReserveInventory for each of these sagas."""
        publish_as_written(self.bus, [command(n) for n in numbers])

    def rows(self, table: str) -> dict[Any, Any]:
        """Return a table as committed."""
        return self.store.tables.tables.get(table, {})

    def on_topic(self, topic: str) -> list[Record]:
        """Return all records of a topic."""
        places = sorted(place for place in self.bus.state.log if place.topic == topic)
        return [record for place in places for record in self.bus.state.log[place]]

    def committed(self) -> int:
        """Return how many commands the group has committed, over all partitions."""
        leases = self.bus.state.leases.items()
        return sum(row.committed for (_, place), row in leases if place.topic == INVENTORY_COMMANDS)


class _Publishing(MemoryBus):
    """The harness's bus with its scripted publisher."""

    def __init__(self, bus: MemoryBus, publisher: ScriptedPublisher) -> None:
        super().__init__(bus.clock, state=bus.state)
        self._scripted = publisher

    def publisher(self) -> ScriptedPublisher:  # type: ignore[override]
        self._scripted.opened += 1
        return self._scripted


def command(n: int) -> Message:
    """Make the ReserveInventory of the n-th saga."""
    saga = saga_id(n)
    return seal(f"{saga}:inventory:do", "ReserveInventory", saga, SAMPLES["ReserveInventory"], ORCHESTRATOR)


def record(n: int, offset: int = 0) -> Record:
    """Make the same as it lies on a partition."""
    return record_as_written(command(n), offset, START_MS)


UNREACHABLE = BusUnavailable("as scripted")
UNDELIVERED = PublishFailed(1, "as scripted")
