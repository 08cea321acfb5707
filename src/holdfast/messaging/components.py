"""What the world gives a service: a database, a bus, clocks. `build(ports)` in each service takes them.

The same `build` serves production and simulation; only what stands behind these ports differs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from holdfast.bus.port import Bus
from holdfast.contracts.topics import READS
from holdfast.messaging.batch_processor import BatchProcessor
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.handler import Handler
from holdfast.messaging.outbox_rescuer import OutboxRescuer
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.producer import ProducerManager, PublishBreaker
from holdfast.messaging.redriver import Redriver
from holdfast.messaging.relay import Relay
from holdfast.messaging.store import Store, Transaction

T = TypeVar("T", bound=Transaction)


T_co = TypeVar("T_co", bound=Transaction, covariant=True)


@dataclass(frozen=True)
class Ports(Generic[T_co]):
    """`instance` is unique among all processes that share the database."""

    store: Store[T_co]
    bus: Bus
    monotonic_ms: Callable[[], int]
    instance: str
    partitions: int


@dataclass(frozen=True)
class Components(Generic[T]):
    """A service put together: what the runtime's threads step."""

    processor: BatchProcessor[T]
    relay: Relay
    manager: KafkaConsumerManager[T]
    outbox_rescuer: OutboxRescuer

    def outbox_age_ms(self) -> int:
        """Return the age of the oldest outbox row as last seen, without rows that the bus does not take."""
        return self.outbox_rescuer.age_ms


def assemble(
    ports: Ports[T],
    service: str,
    handler: Handler[T],
    *,
    breaker: PublishBreaker | None = None,
    chores: Sequence[PeriodicTask[Any]] = (),
) -> Components[T]:
    """Wire one service: its unit of work, its relay, its one writer on the topics that it reads."""
    processor = BatchProcessor(service, ports.store, handler, sources_proven=ports.bus.proves_sources)
    relay = Relay(ProducerManager(ports.bus, breaker), ports.instance, ports.monotonic_ms)
    lying_rows = OutboxRescuer(ports.instance)
    manager = KafkaConsumerManager(
        ports.bus,
        READS[service],
        processor,
        relay,
        ports.monotonic_ms,
        [lying_rows.periodic_task(), Redriver().periodic_task(), *chores],
    )
    return Components(processor, relay, manager, lying_rows)
