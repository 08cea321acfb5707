"""What a bus must offer to the conformance suite; the scenarios know only this.

One module a bus says how it is done there: `memory_harness.py`, `postgres_harness.py`, ... No scenario here.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from holdfast.bus.port import Bus, Consumer, Message, Publisher, RebalanceListener, Record, TopicPartition

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Callback = tuple[str, frozenset[TopicPartition]]
"""A call of the RebalanceListener: "assigned", "revoked" or "lost", and of which partitions."""


class Member(Protocol):
    """A member of a consumer group that can die: a process on a real bus, an object in memory.

    Its first six methods are the Consumer's own, with the same exceptions. A scenario keeps it alive by
    polling it, as a service does.
    """

    def poll(self, records_max: int, timeout_s: float) -> list[Record]: ...

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None: ...

    def rewind(self, place: TopicPartition) -> None: ...

    def assignment(self) -> frozenset[TopicPartition]: ...

    def committed(self, place: TopicPartition) -> int: ...

    def close(self) -> None:
        """Leave the group and end."""

    def callbacks(self) -> list[Callback]:
        """Return every callback so far, in order."""

    def kill(self) -> None:
        """End it as SIGKILL does: nothing is said to the bus."""

    def stop(self) -> None:
        """Freeze it as SIGSTOP does; no other method but `cont` and `kill` may be called until `cont`."""

    def cont(self) -> None:
        """Let it go on where it was."""


class OpenPublish(Protocol):
    """A publish that took its place in the order but is not yet acknowledged, nor to be seen by anyone."""

    def finish(self) -> None:
        """Let it go on, and return when it is durable."""


class Aside(Protocol[T_co]):
    """A call that runs beside the scenario."""

    def wait(self) -> T_co:
        """Return what the call returned, or raise what it raised; fails when it takes too long."""


class Harness(Protocol):
    """One running bus, fresh for each scenario."""

    bus: Bus
    """The bus as the scenario's own process sees it."""

    lease_s: float
    """After at most this silence a member that died or stopped may be taken over."""

    def topic(self, partitions: int = 4) -> str:
        """Create a new topic and return its name."""

    def group(self) -> str:
        """Return the name of a new group."""

    def publisher(self) -> Publisher:
        """Return a publisher; closed by the harness."""

    def consumer(
        self, group: str, topics: Sequence[str], assignment: RebalanceListener | None = None
    ) -> Consumer:
        """Return a consumer in this process; closed by the harness."""

    def member(self, group: str, topics: Sequence[str]) -> Member:
        """Return a member that may be killed and stopped; ended by the harness."""

    def until(self, step: Callable[[], bool]) -> None:
        """Call `step` again and again until it returns True; fails in the end.

        Time passes between the calls: in memory the virtual clock is moved, on a real bus the polls in `step`
        take their time.
        """

    def aside(self, call: Callable[[], T]) -> Aside[T]:
        """Run `call` in a thread; in memory, where no call ever waits, run it now."""

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions, as an administrator does."""

    def make_anew(self, topic: str, partitions: int) -> None:
        """Delete a topic with all its messages and create it again, as an administrator does."""

    def begin_publish(self, batch: Sequence[Message]) -> OpenPublish:
        """Publish half-way. Where a bus has no such state, nothing is published before `finish`."""

    def outage(self) -> AbstractContextManager[None]:
        """Inside, nothing of this process reaches the bus: connections are cut, new ones are refused."""
