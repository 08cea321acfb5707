"""The bus on PostgreSQL: a log of batches in a database of its own, leases instead of a broker's coordinator.

Ordered per key and durable when `publish` returns. No module outside this package knows that it uses SQL.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from holdfast.bus.partitioner import partition_of
from holdfast.bus.port import (
    RECORD_BYTES_MAX,
    Message,
    MessageRefused,
    RebalanceListener,
    TopicInfo,
    TopicPartition,
)
from holdfast.bus.postgres import lines as postgres_lines
from holdfast.bus.postgres import schema as postgres_schema
from holdfast.bus.postgres.consumer import LogRetention, PostgresConsumer, find_end_offset, prune
from holdfast.bus.postgres.session import Session
from holdfast.bus.postgres.wakeups import MESSAGES_AVAILABLE, WakeupSender, check_folder

_ROW_MESSAGES_MAX = 500
_ROW_BYTES_MAX = 1_000_000
_SCHEMA_TIMEOUT_S = 60.0


class Group(NamedTuple):
    """A consumer group with its living members and how many messages it has not read.

    `held`: how many of these are old enough to delete. `gone_s`: how long the group has had no living member,
    negative if it has one, None if it never had one.
    """

    name: str
    members: int
    unread: int
    held: int
    gone_s: float | None


class PostgresBus:
    """A bus in the database `dsn`.

    With a `wakeup_folder` (a short path) the processes of this machine wake each other by datagrams,
    without one by LISTEN/NOTIFY. A consumer keeps its partitions for `lease_s` after its last poll (which
    renews them three times a lease) or commit (which renews those that it commits); the longest batch must
    take less. The consumers' polls also delete messages that all groups have consumed and that are old enough
    (`retention`); a group that joins later starts at the oldest message left. A record's source is the
    service as which its publisher logged in.
    """

    proves_sources = True

    def __init__(
        self,
        dsn: str,
        wakeup_folder: Path | None = None,
        *,
        lease_s: float = 10.0,
        retention: LogRetention | None = None,
    ) -> None:
        if wakeup_folder is not None:
            check_folder(wakeup_folder)
        self._dsn = dsn
        self._wakeup_folder = wakeup_folder
        self._lease_s = lease_s
        self._retention = retention or LogRetention()
        self._topics = _TopicTable()
        self._session = Session(dsn)
        self._lock = Lock()  # publishers and consumers have their own session

    def create_topics(self, topics: Sequence[str], partitions: int) -> None:
        self._topics.placed |= dict.fromkeys(topics, partitions)
        postgres_schema.create_topics(self._dsn, topics, partitions, timeout_s=_SCHEMA_TIMEOUT_S)

    def describe_topics(self, topics: Sequence[str]) -> dict[str, TopicInfo]:
        with self._lock:
            rows = self._session.run("list_topics")
        return {topic: TopicInfo(count, topic_id) for topic, count, topic_id in rows if topic in topics}

    def partition_count(self, topic: str) -> int:
        with self._lock:
            return self._topics.partition_count(self._session, topic)

    def publisher(self) -> "PostgresPublisher":
        return PostgresPublisher(self._dsn, self._topics, self._wakeup_folder)

    def consumer(
        self, group: str, topics: Sequence[str], assignment: RebalanceListener | None = None
    ) -> PostgresConsumer:
        return PostgresConsumer(
            self._dsn,
            self._wakeup_folder,
            group,
            topics,
            assignment,
            lease_s=self._lease_s,
            retention=self._retention,
        )

    def prune(self, retention: LogRetention | None = None) -> None:
        """Delete messages past their retention (by default the bus's own), a bounded number in one call.

        Does nothing while another session prunes. Raises BusUnavailable.
        """
        with self._lock:
            prune(self._session, retention or self._retention, rest_s=0.0)

    def groups(self) -> list[Group]:
        """Return every group that ever joined, by name. Raises BusUnavailable."""
        with self._lock:
            rows = self._session.run("list_groups", retention_s=self._retention.consumed_s)
        return [Group(*row) for row in rows]

    def forget_group(self, name: str, operator: str, reason: str) -> bool | None:
        """Delete a group that holds up pruning; False if it has a living member, None if it does not exist.

        If it joins again, it starts at the oldest message left. Raises BusUnavailable.
        """
        with self._lock:
            found = self._session.run("forget_group", group=name, operator=operator, reason=reason)
        return bool(found[0][0]) if found else None

    def close(self) -> None:
        with self._lock:
            self._session.close()


class PostgresPublisher:
    """Appends a batch in one statement and one commit; in more if a partition's messages exceed one row."""

    def __init__(self, dsn: str, topics: "_TopicTable", wakeup_folder: Path | None) -> None:
        self._session = Session(dsn)
        self._topics = topics
        self._wakeup_sender = None if wakeup_folder is None else WakeupSender(wakeup_folder)

    def publish(self, batch: Sequence[Message]) -> None:
        rows_by_partition = [
            [_Row(place, count, lines) for count, lines in _rows(messages)]
            for place, messages in self._by_partition(batch).items()
        ]
        for rows in zip_longest(*rows_by_partition):
            self._append([row for row in rows if row is not None])

    def end_offset(self, place: TopicPartition) -> int:
        return find_end_offset(self._session, place)

    def close(self) -> None:
        if self._wakeup_sender is not None:
            self._wakeup_sender.close()
        self._session.close()

    def _by_partition(self, batch: Iterable[Message]) -> dict[TopicPartition, list[Message]]:
        counts = {
            topic: self._topics.placed.get(topic) or self._topics.partition_count(self._session, topic)
            for topic in {message.topic for message in batch}
        }
        by_place: dict[tuple[str, int], list[Message]] = {}
        for message in batch:
            topic = message.topic
            place = (topic, partition_of(message.key, counts[topic]))
            by_place.setdefault(place, []).append(message)
        return {TopicPartition(*place): messages for place, messages in by_place.items()}

    def _append(self, rows: "Sequence[_Row]") -> None:
        topics = list({row.place.topic for row in rows})
        self._session.run(
            "publish_batch",
            topics=[row.place.topic for row in rows],
            partitions=[row.place.partition for row in rows],
            counts=[row.messages for row in rows],
            lines=[row.lines for row in rows],
            notify=topics if self._wakeup_sender is None else [],
        )
        if self._wakeup_sender is not None:
            self._wakeup_sender.notify(topics, MESSAGES_AVAILABLE)


class _Row(NamedTuple):
    place: TopicPartition
    messages: int
    lines: bytes


class _TopicTable:
    """The topics' partition counts; `placed`: those among which this bus's publishers were told to place."""

    def __init__(self) -> None:
        self.placed: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def partition_count(self, session: Session, topic: str) -> int:
        if topic not in self._counts:
            self._counts = {topic: count for topic, count, _ in session.run("list_topics")}
        if topic not in self._counts:
            raise MessageRefused(f"there is no topic {topic}")
        return self._counts[topic]


def _rows(messages: Sequence[Message]) -> Iterator[tuple[int, bytes]]:
    """Cut the messages of one partition into rows of bounded size. Raises MessageRefused."""
    for start in range(0, len(messages), _ROW_MESSAGES_MAX):
        some = messages[start : start + _ROW_MESSAGES_MAX]
        lines = postgres_lines.encode(some)
        if len(lines) <= _ROW_BYTES_MAX:
            yield len(some), lines
        elif len(some) > 1:
            yield from _rows(some[: len(some) // 2])
            yield from _rows(some[len(some) // 2 :])
        elif some[0].size <= RECORD_BYTES_MAX:
            yield 1, lines
        else:
            raise MessageRefused(f"a message of {some[0].size} bytes, the limit is {RECORD_BYTES_MAX}")
