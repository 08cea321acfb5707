"""The ports that a service is built on: a database, a bus, a clock. Each service has a `build(ports)`.

Production and simulation use the same `build`; only the implementations of the ports differ.
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
    """What a service runs on. `instance` is unique among all processes that share the database."""

    store: Store[T_co]
    bus: Bus
    monotonic_ms: Callable[[], int]
    instance: str
    partitions: int


@dataclass(frozen=True)
class Components(Generic[T]):
    """The parts of one assembled service, which the runtime's threads run."""

    processor: BatchProcessor[T]
    relay: Relay
    manager: KafkaConsumerManager[T]
    outbox_rescuer: OutboxRescuer

    def outbox_age_ms(self) -> int:
        """Return the last seen age of the oldest outbox row, without rows that the bus does not accept."""
        return self.outbox_rescuer.age_ms


def assemble(
    ports: Ports[T],
    service: str,
    handler: Handler[T],
    *,
    breaker: PublishBreaker | None = None,
    periodic_tasks: Sequence[PeriodicTask[Any]] = (),
) -> Components[T]:
    """Build one service: its batch processor, its relay, and its one writer on the topics that it reads."""
    processor = BatchProcessor(service, ports.store, handler, sources_proven=ports.bus.proves_sources)
    relay = Relay(ProducerManager(ports.bus, breaker), ports.instance, ports.monotonic_ms)
    rescuer = OutboxRescuer(ports.instance)
    manager = KafkaConsumerManager(
        ports.bus,
        READS[service],
        processor,
        relay,
        ports.monotonic_ms,
        [rescuer.periodic_task(), Redriver().periodic_task(), *periodic_tasks],
        partitions=ports.partitions,
    )
    return Components(processor, relay, manager, rescuer)
