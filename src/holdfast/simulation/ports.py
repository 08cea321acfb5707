"""The ports of one simulated process: in-memory stores and bus, with a fault possible at any call.

Every durable effect of a service goes through one of these, so a crash can fall between any two of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast.bus.memory import MemoryBus, MemoryConsumer, MemoryPublisher
from holdfast.bus.port import (
    BusUnavailable,
    Message,
    PublishFailed,
    RebalanceListener,
    Record,
    TopicPartition,
)
from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.store import StoreUnavailable
from holdfast.simulation.faults import DELIVERY_FAULTS, Crash, Switch


class SimStore:
    """One process's store, with faults."""

    def __init__(self, store: MemoryStore[Any], faults: Switch) -> None:
        self._store = store
        self._faults = faults

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        strikes = self._faults.strikes
        if strikes("store.down"):
            raise StoreUnavailable("simulated: no connection")
        with self._store.transaction() as tx:
            yield tx
            if strikes("crash.before_commit"):
                raise Crash
            if strikes("store.refused"):
                raise StoreUnavailable("simulated: rolled back")
        if strikes("crash.after_commit"):
            raise Crash
        if strikes("store.commit_lost"):
            raise StoreUnavailable("simulated: committed, but the answer never came")

    def close(self) -> None:
        """Nothing is open."""


class Network:
    """What lies between publishers and the log: the messages that are delayed."""

    def __init__(self, bus: MemoryBus, observe: Callable[[str, Message, str], None]) -> None:
        self.delayed: list[tuple[str, Message]] = []
        """Each with the service that published it, which stays its source when it arrives late."""
        self.observe = observe
        self._bus = bus

    def arrive(self, position: int) -> bool:
        """Let one delayed message arrive."""
        if not self.delayed:
            return False
        service, message = self.delayed.pop(position % len(self.delayed))
        self._bus.of(service).publisher().publish([message])
        self.observe("", message, "arrives")
        return True


class SimPublisher:
    """One process's publisher."""

    def __init__(
        self, who: str, service: str, inner: MemoryPublisher, network: Network, faults: Switch
    ) -> None:
        self._who = who
        self._service = service
        self._inner = inner
        self._network = network
        self._faults = faults
        self.end_offset = inner.end_offset

    def publish(self, batch: Sequence[Message]) -> None:
        strikes = self._faults.strikes
        if strikes("crash.before_publish"):
            raise Crash
        if strikes("publish.down"):
            raise BusUnavailable("simulated: the bus is down")
        if strikes("publish.partial"):
            published = batch[: len(batch) // 2]
            self._send(published)
            missing = frozenset(range(len(published), len(batch)))
            raise PublishFailed(len(missing), "simulated: only a part was acknowledged", missing)
        fault, which = self._faults.strikes_one_of(DELIVERY_FAULTS, len(batch))
        self._send(batch, fault, which)
        if strikes("publish.unknown"):
            raise PublishFailed(len(batch), "simulated: the answer never came")
        if strikes("crash.after_publish"):
            raise Crash

    def _send(self, batch: Sequence[Message], fault: str = "", which: int = -1) -> None:
        published = []
        for position, message in enumerate(batch):
            fault_here = fault if position == which else ""
            if fault_here in ("delay", "repeat"):
                self._network.delayed.append((self._service, message))
            if fault_here in ("", "repeat"):
                published.append(message)
            self._network.observe(self._who, message, fault_here)
        self._inner.publish(published)

    def close(self) -> None:
        """Nothing is open."""


class SimConsumer:
    """One process's consumer. If stalled, it holds records that another member may work on by now."""

    def __init__(self, inner: MemoryConsumer, batch_max: int, faults: Switch) -> None:
        self._inner = inner
        self._batch_max = batch_max
        self._faults = faults
        self.held: list[Record] = []
        self.rewind = inner.rewind
        self.restart = inner.restart
        self.assignment = inner.assignment
        self.committed = inner.committed
        self.end_offset = inner.end_offset
        self.wake = inner.wake
        self.close = inner.close
        self.behind = inner.behind

    def poll(self, records_max: int, timeout_s: float) -> list[Record]:
        if self.held:
            records, self.held = self.held, []
            return records
        if self._faults.strikes("poll.down"):
            raise BusUnavailable("simulated: the bus is down")
        records = self._inner.poll(min(records_max, self._batch_max), 0)
        if records and self._faults.strikes("stall"):
            self.held = records
            return []
        return records

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        strikes = self._faults.strikes
        if strikes("crash.before_offsets"):
            raise Crash
        if strikes("offsets.down"):
            raise BusUnavailable("simulated: the bus is down")
        self._inner.commit(offsets)
        if strikes("offsets.unknown"):
            raise BusUnavailable("simulated: stored, but the answer never came")
        if strikes("crash.after_offsets"):
            raise Crash


class SimBus:
    """One process's bus, which publishes as its service."""

    proves_sources = True

    def __init__(
        self, who: str, service: str, bus: MemoryBus, network: Network, batch_max: int, faults: Switch
    ) -> None:
        self._who = who
        self._service = service
        self._bus = bus.of(service)
        self._network = network
        self._batch_max = batch_max
        self._faults = faults
        self.create_topics = bus.create_topics
        self.partition_count = bus.partition_count
        self.describe_topics = bus.describe_topics
        self.consumers: list[SimConsumer] = []

    def publisher(self) -> SimPublisher:
        return SimPublisher(self._who, self._service, self._bus.publisher(), self._network, self._faults)

    def consumer(
        self, group: str, topics: Sequence[str], assignment: RebalanceListener | None = None
    ) -> SimConsumer:
        consumer = SimConsumer(self._bus.consumer(group, topics, assignment), self._batch_max, self._faults)
        self.consumers = [consumer]
        return consumer

    def close(self) -> None:
        """Nothing is open."""
