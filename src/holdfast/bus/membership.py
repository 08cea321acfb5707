"""A consumer's life in its group: leases renewed, taken, given up and lost, and where each partition stands.

Knows no storage (a `LeaseStore` per bus) and fetches no records; that is the consumers' part.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from holdfast.bus.leases import GroupView, Lease, plan
from holdfast.bus.port import NotOwner, RebalanceListener, TopicPartition

_NOBODY = RebalanceListener(lambda _: None, lambda _: None, lambda _: None)
BEATS_PER_LEASE = 3


class Progress(NamedTuple):
    """All before `offset` is consumed, says the holder of the lease of this epoch."""

    place: TopicPartition
    epoch: int
    offset: int


class LeaseStore(Protocol):
    """A group's leases where they are durable, as one member reaches them; each call is atomic."""

    def renew(self) -> GroupView:
        """Make this member and its leases live a lease time longer from now, and look at the group."""

    def take(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Take those still of the epoch seen and free, or this member's own; return them as they are now."""

    def commit(self, progress: Sequence[Progress]) -> frozenset[TopicPartition]:
        """Move committed offsets forward; return the partitions whose epoch is still this one."""

    def release(self, places: Iterable[TopicPartition]) -> None:
        """Give these up, for others to take at once."""

    def leave(self) -> None:
        """Give all up and be no member any more."""


@dataclass
class PartitionCursor:
    """A partition that this member holds; `position` is the offset that it hands out next."""

    epoch: int
    committed: int
    position: int
    paused: bool = False


class Membership:
    """One member. It lives by `beat` being called, at least once in a lease time; `clock` is monotonic.

    Renewed `BEATS_PER_LEASE` times a lease, so records that are handed out between two beats are those of a
    partition that nobody else can have taken yet.
    """

    def __init__(
        self,
        me: str,
        store: LeaseStore,
        assignment: RebalanceListener | None,
        *,
        lease_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.lanes: dict[TopicPartition, PartitionCursor] = {}
        self.next_beat = clock()
        self._me = me
        self._store = store
        self._told = assignment or _NOBODY
        self._lost: set[TopicPartition] = set()
        self._turn = 0
        self._every_s = lease_s / BEATS_PER_LEASE
        self._clock = clock

    def heartbeat(self) -> None:
        """If it is time: renew, then give up and take what is due.

        Runs the callbacks: `lost` first, then `revoked` while the leases are still held, then `assigned`.
        """
        now = self._clock()
        if now < self.next_beat:
            return
        group = self._store.renew()
        self.next_beat = now + self._every_s
        held = {lease.place for lease in group.leases if lease.owner == self._me}
        self._forget([place for place in self.lanes if place not in held])
        self._tell_lost()
        due = plan(self._me, group)
        self._give_up(due.give_up)
        # Ours by the store alone: the answer of the call that took it never came back.
        strays = [
            lease
            for lease in group.leases
            if lease.owner == self._me and lease.place not in self.lanes and lease.place not in due.give_up
        ]
        self._take([*due.take, *strays])

    def beat_now(self) -> None:
        """Let the next `beat` be due at once: the group has changed."""
        self.next_beat = self._clock()

    def ready(self) -> list[tuple[TopicPartition, PartitionCursor]]:
        """List the partitions to read from; a different one is first each time, so that none starves."""
        lanes = sorted((place, lane) for place, lane in self.lanes.items() if not lane.paused)
        self._turn += 1
        start = self._turn % len(lanes) if lanes else 0
        return lanes[start:] + lanes[:start]

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store offsets; what turns out to be another's is forgotten here, told as lost at the next beat."""
        mine = [(place, offset) for place, offset in sorted(offsets.items()) if place in self.lanes]
        progress = [Progress(place, self.lanes[place].epoch, offset) for place, offset in mine]
        done = self._store.commit(progress) if progress else frozenset()
        for place in done:
            lane = self.lanes[place]
            lane.committed = max(lane.committed, offsets[place])
        if len(done) < len(offsets):
            refused = frozenset(offsets) - done
            self._forget([place for place in refused if place in self.lanes])
            self.beat_now()
            raise NotOwner(refused)

    def rewind(self, place: TopicPartition) -> None:
        lane = self.lanes.get(place)
        if lane is not None:
            lane.position = lane.committed

    def pause(self, places: Iterable[TopicPartition], *, paused: bool) -> None:
        for place in places:
            if place in self.lanes:
                self.lanes[place].paused = paused

    def leave(self) -> None:
        """Tell what is revoked, then leave the group."""
        if self.lanes:
            self._told.revoked(frozenset(self.lanes))
        self.lanes.clear()
        self._store.leave()

    def _forget(self, places: Iterable[TopicPartition]) -> None:
        for place in places:
            del self.lanes[place]
            self._lost.add(place)

    def _tell_lost(self) -> None:
        if self._lost:
            lost, self._lost = frozenset(self._lost), set()
            self._told.lost(lost)

    def _give_up(self, places: Sequence[TopicPartition]) -> None:
        held = frozenset(place for place in places if place in self.lanes)
        if held:
            self._told.revoked(held)
        if places:
            self._store.release(places)
        for place in held:
            self.lanes.pop(place, None)

    def _take(self, leases: Sequence[Lease]) -> None:
        taken = self._store.take(leases) if leases else ()
        for lease in taken:
            self.lanes[lease.place] = PartitionCursor(lease.epoch, lease.committed, lease.committed)
        if taken:
            self._told.assigned(frozenset(lease.place for lease in taken))
