"""A member of a consumer group on PostgreSQL: leases and offsets as rows, records fetched ahead in batches.

`membership` decides which member owns a partition; `lines` reads the lines of a batch.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from holdfast.bus.leases import GroupView, Lease
from holdfast.bus.membership import Membership, Progress
from holdfast.bus.port import MessageRefused, RebalanceListener, Record, TopicPartition
from holdfast.bus.postgres.lines import Batch, decode
from holdfast.bus.postgres.session import Session
from holdfast.bus.postgres.wakeups import (
    MEMBERS,
    NotifyListener,
    SocketListener,
    WakeupListener,
    WakeupSender,
)

_LOOK_EVERY_S = 0.5  # if no wake-up comes
_PRUNE_EVERY_S = 30.0
_PRUNE_AGAIN_S = 1.0  # if more was left than one call may delete
_PRUNE_ROWS_MAX = 2_000
_FETCH_BYTES_MAX = 1_000_000  # per partition; one row is fetched whatever its size


class PostgresConsumer:
    """One member. `PostgresBus` says how long it keeps its partitions without being called."""

    def __init__(
        self,
        dsn: str,
        wakeup_folder: Path | None,
        group: str,
        topics: Sequence[str],
        assignment: RebalanceListener | None,
        *,
        lease_s: float,
        retention: "LogRetention",
    ) -> None:
        me = f"{os.getpid()}-{uuid4().hex[:12]}"
        self._session = Session(dsn)
        self._listener, self._wakeup_sender = _wakeups(self._session, wakeup_folder, topics)
        self._group = group
        store = _PostgresLeases(
            self._session, group=group, me=me, topics=topics, lease_s=lease_s, announce=self._announce
        )
        self._membership = Membership(me, store, assignment, lease_s=lease_s, clock=time.monotonic)
        self._topics = topics
        self._retention = retention
        self._prune_every_s = _PRUNE_EVERY_S
        self._next_prune = time.monotonic() + _PRUNE_EVERY_S
        self._closed = False
        self._fetched: dict[TopicPartition, _Fetched] = {}
        self._next_look = 0.0
        self.commit = self._membership.commit
        self.rewind = self._membership.rewind
        self.wake = self._listener.wake

    def poll(self, records_max: int, timeout_s: float) -> list[Record]:
        deadline = time.monotonic() + timeout_s
        wait_s = 0.0
        if timeout_s <= 0:
            self._next_look = 0.0  # a caller that does not wait wants to know
        while True:
            self._listen(wait_s)
            self._membership.heartbeat()
            self._prune_if_due()
            records = self._read(records_max)
            now = time.monotonic()
            if records or now >= deadline or self._listener.woken:
                self._listener.woken = False
                return records
            wait_s = max(0.0, min(deadline, self._membership.next_beat, self._next_look) - now)

    def restart(self, place: TopicPartition) -> None:
        self._membership.restart(place)
        self._fetched.pop(place, None)

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._membership.lanes)

    def committed(self, place: TopicPartition) -> int:
        found = self._session.run(
            "find_committed", group=self._group, topic=place.topic, partition=place.partition
        )
        return int(found[0][0]) if found else 0

    def end_offset(self, place: TopicPartition) -> int:
        return find_end_offset(self._session, place)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._membership.leave()
        finally:
            self._listener.close()
            if self._wakeup_sender is not None:
                self._wakeup_sender.close()
            self._session.close()

    def _listen(self, wait_s: float) -> None:
        self._listener.wait(wait_s)
        if self._listener.members_changed:
            self._listener.members_changed = False
            self._membership.beat_now()

    def _announce(self) -> None:
        if self._wakeup_sender is not None:
            self._wakeup_sender.notify(self._topics, MEMBERS)
        else:
            self._session.run("notify_members", topics=list(self._topics))

    def _prune_if_due(self) -> None:
        if time.monotonic() >= self._next_prune:
            every_s, self._prune_every_s = self._prune_every_s, _PRUNE_EVERY_S
            self._next_prune = time.monotonic() + _PRUNE_EVERY_S
            if not prune(self._session, self._retention, rest_s=every_s / 2):
                self._prune_every_s = _PRUNE_AGAIN_S
                self._next_prune = time.monotonic() + _PRUNE_AGAIN_S

    def _read(self, records_max: int) -> list[Record]:
        """Return records that were fetched ahead; fetch more first if they are fewer than `records_max`."""
        ready = self._membership.ready()
        for place in self._fetched.keys() - self._membership.lanes.keys():
            del self._fetched[place]
        for place, cursor in ready:
            fetched = self._fetched.get(place)
            if fetched is None or fetched.position != cursor.position:
                self._fetched[place] = _Fetched(cursor.position)
        if sum(self._fetched[place].count() for place, _ in ready) < records_max:
            self._fetch_if_behind([place for place, _ in ready], records_max)
        records: list[Record] = []
        for place, cursor in ready:
            fetched = self._fetched[place]
            records += fetched.take(place, records_max - len(records))
            cursor.position = fetched.position
        return records

    def _fetch_if_behind(self, places: Sequence[TopicPartition], records_max: int) -> None:
        """Fetch if there is more, or may be: a wake-up came, or it is time to look without one."""
        behind = any(self._fetched[place].is_behind for place in places)
        now = time.monotonic()
        if behind or self._listener.messages_available or now >= self._next_look:
            if places:
                self._fetch(places, records_max)
            self._listener.messages_available = False
            self._next_look = now + _LOOK_EVERY_S

    def _fetch(self, places: Sequence[TopicPartition], records_max: int) -> None:
        rows = self._session.run(
            "fetch_log",
            group=self._group,
            topics=[place.topic for place in places],
            partitions=[place.partition for place in places],
            positions=[self._fetched[place].end for place in places],
            messages_more=records_max,
            bytes_max=_FETCH_BYTES_MAX,
        )
        for place in places:
            self._fetched[place].log_end = self._fetched[place].end
        for number, log_end, *batch in rows:
            fetched = self._fetched[places[number - 1]]
            fetched.batches.append(Batch(*batch))
            fetched.log_end = log_end


@dataclass
class _Fetched:
    """What was fetched of one partition from `position` on; decoded only when `take` returns it."""

    position: int
    records: list[Record] = field(default_factory=list)
    batches: deque[Batch] = field(default_factory=deque)
    log_end: int | None = None
    """Where the partition's log ended at the last fetch, None before the first."""

    @property
    def end(self) -> int:
        if self.batches:
            return self.batches[-1].end_offset
        return self.records[-1].offset + 1 if self.records else self.position

    @property
    def is_behind(self) -> bool:
        return self.log_end is None or self.end < self.log_end

    def count(self) -> int:
        return self.end - self.position

    def take(self, place: TopicPartition, records_max: int) -> list[Record]:
        """Return the next records, and move on."""
        while self.batches and len(self.records) < records_max:
            batch = self.batches.popleft()
            records = decode(place, batch)
            if self.position > batch.base_offset:  # the position may lie inside a row
                records = [record for record in records if record.offset >= self.position]
            self.records += records
        taken, self.records = self.records[:records_max], self.records[records_max:]
        if taken:
            self.position = taken[-1].offset + 1
        return taken


class _PostgresLeases:
    """The leases of one member's group in the database."""

    def __init__(
        self,
        session: Session,
        *,
        group: str,
        me: str,
        topics: Sequence[str],
        lease_s: float,
        announce: Callable[[], None],
    ) -> None:
        self._session = session
        self._group = group
        self._me = me
        self._topics = topics
        self._lease_s = lease_s
        self._announce = announce
        self._all_there = False
        self._announced = False

    def renew(self) -> GroupView:
        if not self._all_there:
            self._session.run("join_group", group=self._group, topics=list(self._topics))
        rows = self._session.run(
            "renew_leases", group=self._group, me=self._me, topics=list(self._topics), lease_s=self._lease_s
        )
        members = {self._me: list(self._topics)}
        leases = []
        for kind, member, topics, topic, partition, owner, epoch, committed in rows:
            if kind == "member":
                members[member] = topics
            else:
                leases.append(Lease(TopicPartition(topic, partition), owner, epoch, committed))
        self._all_there = {lease.place.topic for lease in leases}.issuperset(self._topics)
        if not self._announced:
            self._announce()
            self._announced = True
        return GroupView(members, leases)

    def take(self, leases: Sequence[Lease]) -> list[Lease]:
        rows = self._session.run(
            "take_leases",
            group=self._group,
            me=self._me,
            lease_s=self._lease_s,
            topics=[lease.place.topic for lease in leases],
            partitions=[lease.place.partition for lease in leases],
            epochs=[lease.epoch for lease in leases],
        )
        return [
            Lease(TopicPartition(topic, partition), self._me, epoch, committed)
            for topic, partition, epoch, committed in rows
        ]

    def commit(self, progress: Sequence[Progress]) -> frozenset[TopicPartition]:
        rows = self._session.run(
            "commit_offsets",
            group=self._group,
            me=self._me,
            lease_s=self._lease_s,
            topics=[place.topic for place, _, _ in progress],
            partitions=[place.partition for place, _, _ in progress],
            epochs=[epoch for _, epoch, _ in progress],
            offsets=[offset for _, _, offset in progress],
        )
        return frozenset(TopicPartition(*row) for row in rows)

    def restart(self, place: TopicPartition, epoch: int) -> bool:
        values = {"topic": place.topic, "partition": place.partition, "epoch": epoch}
        [(mine,)] = self._session.run("restart_partition", group=self._group, me=self._me, **values)
        return bool(mine)

    def release(self, places: Iterable[TopicPartition]) -> None:
        self._session.run(
            "release_leases",
            group=self._group,
            me=self._me,
            topics=[place.topic for place in places],
            partitions=[place.partition for place in places],
        )
        self._announce()

    def leave(self) -> None:
        self._session.run("leave_group", group=self._group, me=self._me)
        self._announce()


def find_end_offset(session: Session, place: TopicPartition) -> int:
    """Return the offset that the next message of this partition will get."""
    found = session.run("find_end_offset", topic=place.topic, partition=place.partition)
    if not found:
        raise MessageRefused(f"there is no {place}")
    return int(found[0][0])


@dataclass(frozen=True)
class LogRetention:
    """How old a message gets that all groups have consumed; in `kept_topics` (for people), any message."""

    consumed_s: float = 600.0
    kept_s: float = 14 * 86_400.0
    kept_topics: tuple[str, ...] = ()


def prune(session: Session, retention: LogRetention, *, rest_s: float) -> bool:
    """Delete messages past their retention, unless the last pruning is less than `rest_s` ago.

    False if a partition may hold more such messages than one call deletes.
    """
    [(most,)] = session.run(
        "prune_log",
        retention_s=retention.consumed_s,
        kept_retention_s=retention.kept_s,
        kept_topics=list(retention.kept_topics),
        rest_s=rest_s,
        rows_max=_PRUNE_ROWS_MAX,
    )
    return int(most) < _PRUNE_ROWS_MAX


def _wakeups(
    session: Session, wakeup_folder: Path | None, topics: Sequence[str]
) -> tuple[WakeupListener, WakeupSender | None]:
    if wakeup_folder is not None:
        return SocketListener(wakeup_folder, topics), WakeupSender(wakeup_folder)
    listener = NotifyListener(session, topics)
    session.on_open = listener.listen
    return listener, None
