"""The conformance suite on the bus in memory: members are objects, time is a number."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic

from tests.conformance.harness import Callback, T

from holdfast.bus.memory import MemoryBus, MemoryConsumer, MemoryPublisher
from holdfast.bus.port import Message, RebalanceListener, Record, TopicPartition

STEP_S = 0.1
PATIENCE_S = 60.0


class VirtualClock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class MemoryMember:
    """A consumer that is simply not called any more when it is killed or stopped."""

    def __init__(self, bus: MemoryBus, group: str, topics: Sequence[str]) -> None:
        self._heard: list[Callback] = []
        assignment = RebalanceListener(
            assigned=lambda places: self._heard.append(("assigned", places)),
            revoked=lambda places: self._heard.append(("revoked", places)),
            lost=lambda places: self._heard.append(("lost", places)),
        )
        self._consumer = bus.consumer(group, topics, assignment)
        self._running = True

    def poll(self, records_max: int, timeout_s: float) -> list[Record]:
        return self._alive().poll(records_max, timeout_s)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._alive().commit(offsets)

    def rewind(self, place: TopicPartition) -> None:
        self._alive().rewind(place)

    def assignment(self) -> frozenset[TopicPartition]:
        return self._alive().assignment()

    def committed(self, place: TopicPartition) -> int:
        return self._alive().committed(place)

    def close(self) -> None:
        self._alive().close()
        self._running = False

    def callbacks(self) -> list[Callback]:
        return list(self._heard)

    def kill(self) -> None:
        self._running = False

    def stop(self) -> None:
        self._running = False

    def cont(self) -> None:
        self._running = True

    def _alive(self) -> MemoryConsumer:
        assert self._running, "the scenario calls a member that is dead or stopped"
        return self._consumer


@dataclass
class Done(Generic[T]):
    """A call that was made at once."""

    value: T

    def wait(self) -> T:
        return self.value


@dataclass
class Unpublished:
    """The memory bus appends in one step: before it nothing has happened."""

    publisher: MemoryPublisher
    batch: Sequence[Message]

    def finish(self) -> None:
        self.publisher.publish(self.batch)


@dataclass
class MemoryHarness:
    lease_s: float = 1.0
    clock: VirtualClock = field(default_factory=VirtualClock)

    def __post_init__(self) -> None:
        self.bus = MemoryBus(self.clock, lease_s=self.lease_s)

    def topic(self, partitions: int = 4) -> str:
        name = f"topic.{uuid.uuid4().hex[:8]}"
        self.bus.create_topics([name], partitions)
        return name

    def group(self) -> str:
        return f"group-{uuid.uuid4().hex[:8]}"

    def publisher(self) -> MemoryPublisher:
        return self.bus.publisher()

    def consumer(
        self, group: str, topics: Sequence[str], assignment: RebalanceListener | None = None
    ) -> MemoryConsumer:
        return self.bus.consumer(group, topics, assignment)

    def member(self, group: str, topics: Sequence[str]) -> MemoryMember:
        return MemoryMember(self.bus, group, topics)

    def until(self, step: Callable[[], bool]) -> None:
        deadline = self.clock.now_s + PATIENCE_S
        while not step():
            assert self.clock.now_s < deadline, "it never came true"
            self.clock.now_s += STEP_S

    def aside(self, call: Callable[[], T]) -> Done[T]:
        return Done(call())

    def grow(self, topic: str, partitions: int) -> None:
        self.bus.state.partitions[topic] = partitions
        for partition in range(partitions):
            self.bus.state.log.setdefault(TopicPartition(topic, partition), ())

    def make_anew(self, topic: str, partitions: int) -> None:
        state = self.bus.state
        state.generations[topic] = state.generations.get(topic, 0) + 1
        state.partitions[topic] = partitions
        for place in [place for place in state.log if place.topic == topic]:
            del state.log[place]
        self.grow(topic, partitions)

    def begin_publish(self, batch: Sequence[Message]) -> Unpublished:
        return Unpublished(self.bus.publisher(), batch)

    @contextmanager
    def outage(self) -> Iterator[None]:
        self.bus.state.reachable = False
        try:
            yield
        finally:
            self.bus.state.reachable = True
