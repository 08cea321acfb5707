"""The bus in one process, for tests and simulation: deterministic, no threads, no clock of its own.

Not durable and not for production; its leases and epochs behave like those of the PostgreSQL bus.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from holdfast.bus.leases import GroupView, Lease
from holdfast.bus.membership import Membership, Progress
from holdfast.bus.partitioner import partition_of
from holdfast.bus.port import (
    RECORD_BYTES_MAX,
    BusUnavailable,
    Message,
    MessageRefused,
    PartitionsDiffer,
    RebalanceListener,
    Record,
    TopicInfo,
    TopicPartition,
)


class LeaseRow(NamedTuple):
    owner: str | None = None
    epoch: int = 0
    expires_at: float = 0.0
    committed: int = 0


class MemberRow(NamedTuple):
    topics: tuple[str, ...]
    expires_at: float


@dataclass
class MemoryState:
    """The whole state of the bus in plain dicts of tuples, so that tests can read, compare and change it."""

    partitions: dict[str, int] = field(default_factory=dict)
    log: dict[TopicPartition, tuple[Record, ...]] = field(default_factory=dict)
    members: dict[tuple[str, str], MemberRow] = field(default_factory=dict)  # by (group, member)
    leases: dict[tuple[str, TopicPartition], LeaseRow] = field(default_factory=dict)  # by group and place
    placed: dict[str, int] = field(default_factory=dict)  # among how many partitions publishers place
    generations: dict[str, int] = field(default_factory=dict)  # how often a topic was made anew
    names: int = 0  # how many member names were ever given
    reachable: bool = True

    def copy(self) -> Self:
        """Return an independent copy; cheap, because all values are immutable."""
        copied = copy.copy(self)
        copied.partitions, copied.log = dict(self.partitions), dict(self.log)
        copied.members, copied.leases = dict(self.members), dict(self.leases)
        copied.placed, copied.generations = dict(self.placed), dict(self.generations)
        return copied

    def check(self) -> None:
        if not self.reachable:
            raise BusUnavailable("the bus is switched off")


class MemoryBus:
    """A bus on `state`. Members' leases expire by `clock`, in seconds.

    Its records carry `source`, the service for which `of` made this object.
    """

    proves_sources = True

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        state: MemoryState | None = None,
        lease_s: float = 10.0,
        source: str | None = None,
    ) -> None:
        self.state = state or MemoryState()
        self.clock = clock
        self.lease_s = lease_s
        self._source = source

    def of(self, service: str) -> "MemoryBus":
        """Return the same bus with `service` as the source of what it publishes."""
        return MemoryBus(self.clock, state=self.state, lease_s=self.lease_s, source=service)

    def create_topics(self, topics: Sequence[str], partitions: int) -> None:
        self.state.check()
        counts = {topic: self.state.partitions.setdefault(topic, partitions) for topic in topics}
        for topic, count in counts.items():
            self.state.placed[topic] = partitions
            for partition in range(count):
                self.state.log.setdefault(TopicPartition(topic, partition), ())
        if differing := {topic: count for topic, count in counts.items() if count != partitions}:
            raise PartitionsDiffer(partitions, differing)

    def describe_topics(self, topics: Sequence[str]) -> dict[str, TopicInfo]:
        self.state.check()
        known = self.state.partitions
        ids = self.state.generations
        return {topic: TopicInfo(known[topic], str(ids.get(topic, 0))) for topic in topics if topic in known}

    def partition_count(self, topic: str) -> int:
        self.state.check()
        return _partition_count(self.state, topic)

    def publisher(self) -> "MemoryPublisher":
        return MemoryPublisher(self.state, self.clock, self._source)

    def consumer(
        self, group: str, topics: Sequence[str], assignment: RebalanceListener | None = None
    ) -> "MemoryConsumer":
        self.state.names += 1
        me = f"member-{self.state.names}"
        store = _MemoryLeases(self, group, me, topics)
        membership = Membership(me, store, assignment, lease_s=self.lease_s, clock=self.clock)
        return MemoryConsumer(self.state, group, membership)

    def close(self) -> None:
        """Do nothing: the bus opens no connection."""


class MemoryPublisher:
    """Appends to the log at once, all of a batch or nothing."""

    def __init__(self, state: MemoryState, clock: Callable[[], float], source: str | None = None) -> None:
        self._state = state
        self._clock = clock
        self._source = source

    def publish(self, batch: Sequence[Message]) -> None:
        self._state.check()
        now_ms = int(self._clock() * 1000)
        log = self._state.log
        added: dict[TopicPartition, list[Record]] = {}
        for message in batch:
            if message.size > RECORD_BYTES_MAX:
                raise MessageRefused(f"a message of {message.size} bytes, the limit is {RECORD_BYTES_MAX}")
            there = _partition_count(self._state, message.topic)
            count = self._state.placed.get(message.topic, there)
            if count > there:
                raise MessageRefused(f"topic {message.topic} has {there} partitions, not {count}")
            place = TopicPartition(message.topic, partition_of(message.key, count))
            records = added.setdefault(place, [])
            offset = len(log[place]) + len(records)
            record = Record(*place, offset, message.key, message.value, message.headers, now_ms, self._source)
            records.append(record)
        for place, records in added.items():
            log[place] += tuple(records)

    def end_offset(self, place: TopicPartition) -> int:
        self._state.check()
        return len(self._state.log[place])

    def close(self) -> None:
        """Do nothing: the publisher opens no connection."""


class MemoryConsumer:
    """A member of a group. `poll` never waits: time passes only by the bus's clock."""

    def __init__(self, state: MemoryState, group: str, membership: Membership) -> None:
        self._state = state
        self._group = group
        self._membership = membership
        self.rewind = membership.rewind
        self.restart = membership.restart
        self.commit = membership.commit

    def poll(self, records_max: int, timeout_s: float) -> list[Record]:
        self._state.check()
        self._membership.heartbeat()
        records: list[Record] = []
        for place, cursor in self._membership.ready():
            room = records_max - len(records)
            found = self._state.log[place][cursor.position : cursor.position + room]
            cursor.position += len(found)
            records += found
        return records

    def behind(self) -> bool:
        """Tell whether a poll now would return records, as far as this member knows its partitions."""
        log = self._state.log
        return any(cursor.position < len(log[place]) for place, cursor in self._membership.lanes.items())

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._membership.lanes)

    def committed(self, place: TopicPartition) -> int:
        self._state.check()
        return self._state.leases.get((self._group, place), LeaseRow()).committed

    def end_offset(self, place: TopicPartition) -> int:
        self._state.check()
        return len(self._state.log[place])

    def wake(self) -> None:
        """Do nothing: no poll ever waits."""

    def close(self) -> None:
        self._membership.leave()


class _MemoryLeases:
    """The leases of one member's group in the state."""

    def __init__(self, bus: MemoryBus, group: str, me: str, topics: Sequence[str]) -> None:
        self._state = bus.state
        self._clock = bus.clock
        self._lease_s = bus.lease_s
        self._group = group
        self._me = me
        self._topics = tuple(topics)

    def renew(self) -> GroupView:
        self._state.check()
        now, group = self._clock(), self._group
        self._state.members[group, self._me] = MemberRow(self._topics, now + self._lease_s)
        leases = []
        for topic in self._topics:
            for partition in range(self._state.partitions.get(topic, 0)):
                place = TopicPartition(topic, partition)
                row = self._state.leases.get((group, place), LeaseRow())
                if row.owner == self._me:
                    self._state.leases[group, place] = row._replace(expires_at=now + self._lease_s)
                owner = row.owner if row.owner == self._me or row.expires_at > now else None
                leases.append(Lease(place, owner, row.epoch, row.committed))
        living = {
            name: row.topics
            for (of, name), row in self._state.members.items()
            if of == group and row.expires_at > now
        }
        return GroupView(living, leases)

    def take(self, leases: Sequence[Lease]) -> list[Lease]:
        self._state.check()
        now = self._clock()
        taken = []
        for lease in leases:
            row = self._row(lease.place)
            free = row.owner in (None, self._me) or row.expires_at <= now
            if free and row.epoch == lease.epoch:
                mine = row._replace(owner=self._me, epoch=row.epoch + 1, expires_at=now + self._lease_s)
                self._state.leases[self._group, lease.place] = mine
                taken.append(Lease(lease.place, self._me, mine.epoch, mine.committed))
        return taken

    def commit(self, progress: Sequence[Progress]) -> frozenset[TopicPartition]:
        self._state.check()
        done = set()
        for place, epoch, offset in progress:
            row = self._row(place)
            if row.owner == self._me and row.epoch == epoch:
                self._state.leases[self._group, place] = row._replace(
                    committed=max(row.committed, offset), expires_at=self._clock() + self._lease_s
                )
                done.add(place)
        return frozenset(done)

    def restart(self, place: TopicPartition, epoch: int) -> bool:
        self._state.check()
        row = self._row(place)
        mine = row.owner == self._me and row.epoch == epoch
        if mine:
            self._state.leases[self._group, place] = row._replace(committed=0)
        return mine

    def release(self, places: Iterable[TopicPartition]) -> None:
        self._state.check()
        for place in places:
            row = self._row(place)
            if row.owner == self._me:
                self._state.leases[self._group, place] = row._replace(owner=None)

    def leave(self) -> None:
        self._state.check()
        self.release([place for group, place in self._state.leases if group == self._group])
        self._state.members.pop((self._group, self._me), None)

    def _row(self, place: TopicPartition) -> LeaseRow:
        return self._state.leases.get((self._group, place), LeaseRow())


def _partition_count(state: MemoryState, topic: str) -> int:
    if topic not in state.partitions:
        raise MessageRefused(f"there is no topic {topic}")
    return state.partitions[topic]
