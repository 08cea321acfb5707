"""A member's leases in its group: it renews, takes, gives up and loses them, and keeps each one's position.

It knows no storage (each bus has a `LeaseStore`) and fetches no records (the consumers do).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from holdfast.bus.leases import GroupView, Lease, plan
from holdfast.bus.port import NotOwner, RebalanceListener, TopicPartition

_NO_LISTENER = RebalanceListener(lambda _: None, lambda _: None, lambda _: None)
BEATS_PER_LEASE = 3


class Progress(NamedTuple):
    """The member that holds the lease of this epoch has consumed all before `offset`."""

    place: TopicPartition
    epoch: int
    offset: int


class LeaseStore(Protocol):
    """The durable leases of a group, as one member reads and changes them; each call is atomic."""

    def renew(self) -> GroupView:
        """Extend this member and its leases to a lease time from now; return the group as it is."""

    def take(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Take those that still have this epoch and are free or this member's own; return them as taken."""

    def commit(self, progress: Sequence[Progress]) -> frozenset[TopicPartition]:
        """Move committed offsets forward; return the partitions whose epoch is still this one."""

    def restart(self, place: TopicPartition, epoch: int) -> bool:
        """Set the committed offset to 0 if the epoch is still this one; tell whether it is."""

    def release(self, places: Iterable[TopicPartition]) -> None:
        """Give these up, so that other members can take them at once."""

    def leave(self) -> None:
        """Give up all leases and leave the group."""


@dataclass
class PartitionCursor:
    """A partition that this member holds; `position` is the offset that it returns next."""

    epoch: int
    committed: int
    position: int


class Membership:
    """One member. It lives while `heartbeat` is called at least once per lease time; `clock` is monotonic.

    It renews its leases `BEATS_PER_LEASE` times per lease time, so no other member can have taken a partition
    whose records are returned between two heartbeats.
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
        self._listener = assignment or _NO_LISTENER
        self._lost: set[TopicPartition] = set()
        self._turn = 0
        self._every_s = lease_s / BEATS_PER_LEASE
        self._clock = clock

    def heartbeat(self) -> None:
        """If it is time, renew the leases, then give up and take partitions according to the plan.

        Runs the callbacks: `lost` first, then `revoked` while the leases are still held, then `assigned`.
        """
        now = self._clock()
        if now < self.next_beat:
            return
        group = self._store.renew()
        self.next_beat = now + self._every_s
        held = {lease.place for lease in group.leases if lease.owner == self._me}
        self._forget([place for place in self.lanes if place not in held])
        self._report_lost()
        due = plan(self._me, group)
        self._give_up(due.give_up)
        # Ours only according to the store: the answer of the call that took it never came.
        strays = [
            lease
            for lease in group.leases
            if lease.owner == self._me and lease.place not in self.lanes and lease.place not in due.give_up
        ]
        self._take([*due.take, *strays])

    def beat_now(self) -> None:
        """Make the next `heartbeat` due at once: the group has changed."""
        self.next_beat = self._clock()

    def ready(self) -> list[tuple[TopicPartition, PartitionCursor]]:
        """Return the partitions to read from; a different one is first each time, so that none starves."""
        cursors = sorted(self.lanes.items())
        self._turn += 1
        start = self._turn % len(cursors) if cursors else 0
        return cursors[start:] + cursors[:start]

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store offsets; forget partitions of other members, which `lost` reports at the next heartbeat."""
        mine = [(place, offset) for place, offset in sorted(offsets.items()) if place in self.lanes]
        progress = [Progress(place, self.lanes[place].epoch, offset) for place, offset in mine]
        done = self._store.commit(progress) if progress else frozenset()
        for place in done:
            cursor = self.lanes[place]
            cursor.committed = max(cursor.committed, offsets[place])
        if len(done) < len(offsets):
            refused = frozenset(offsets) - done
            self._forget([place for place in refused if place in self.lanes])
            self.beat_now()
            raise NotOwner(refused)

    def rewind(self, place: TopicPartition) -> None:
        cursor = self.lanes.get(place)
        if cursor is not None:
            cursor.position = cursor.committed

    def restart(self, place: TopicPartition) -> None:
        """Go back to the beginning, durably. Raises NotOwner."""
        cursor = self.lanes.get(place)
        if cursor is None or not self._store.restart(place, cursor.epoch):
            raise NotOwner(frozenset({place}))
        cursor.position = cursor.committed = 0

    def leave(self) -> None:
        """Call `revoked`, then leave the group."""
        if self.lanes:
            self._listener.revoked(frozenset(self.lanes))
        self.lanes.clear()
        self._store.leave()

    def _forget(self, places: Iterable[TopicPartition]) -> None:
        for place in places:
            del self.lanes[place]
            self._lost.add(place)

    def _report_lost(self) -> None:
        if self._lost:
            lost, self._lost = frozenset(self._lost), set()
            self._listener.lost(lost)

    def _give_up(self, places: Sequence[TopicPartition]) -> None:
        held = frozenset(place for place in places if place in self.lanes)
        if held:
            self._listener.revoked(held)
        if places:
            self._store.release(places)
        for place in held:
            self.lanes.pop(place, None)

    def _take(self, leases: Sequence[Lease]) -> None:
        taken = self._store.take(leases) if leases else ()
        for lease in taken:
            self.lanes[lease.place] = PartitionCursor(lease.epoch, lease.committed, lease.committed)
        if taken:
            self._listener.assigned(frozenset(lease.place for lease in taken))
