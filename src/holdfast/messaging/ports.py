"""What the world gives a service: a database, a bus, clocks. `build(ports)` in each service takes them.

The same `build` serves production and simulation; only what stands behind these ports differs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from holdfast.bus.port import Bus
from holdfast.contracts.topics import READS
from holdfast.messaging.consumer import Chore, KafkaConsumerManager
from holdfast.messaging.handler import Handler
from holdfast.messaging.outbox import LyingRows
from holdfast.messaging.producer import Guard, ProducerManager
from holdfast.messaging.redriver import Redriver
from holdfast.messaging.relay import Relay
from holdfast.messaging.store import Store, Transaction
from holdfast.messaging.unit_of_work import UnitOfWork

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
class Parts(Generic[T]):
    """A service put together: what the runtime's threads step."""

    unit_of_work: UnitOfWork[T]
    relay: Relay
    manager: KafkaConsumerManager[T]
    lying_rows: LyingRows

    def outbox_age_ms(self) -> int:
        """Return the age of the oldest outbox row as last seen, without rows that the bus does not take."""
        return self.lying_rows.age_ms


def assemble(
    ports: Ports[T],
    service: str,
    handler: Handler[T],
    *,
    breaker: Guard | None = None,
    chores: Sequence[Chore[Any]] = (),
) -> Parts[T]:
    """Wire one service: its unit of work, its relay, its one writer on the topics that it reads."""
    unit_of_work = UnitOfWork(service, ports.store, handler, sources_proven=ports.bus.proves_sources)
    relay = Relay(ProducerManager(ports.bus, breaker), ports.instance, ports.monotonic_ms)
    lying_rows = LyingRows(ports.instance)
    manager = KafkaConsumerManager(
        ports.bus,
        READS[service],
        unit_of_work,
        relay,
        ports.monotonic_ms,
        [lying_rows.chore(), Redriver().chore(), *chores],
    )
    return Parts(unit_of_work, relay, manager, lying_rows)
