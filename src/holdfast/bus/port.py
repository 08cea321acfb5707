"""The port that every bus implements; code that uses it knows no particular bus.

Order is per key. Delivery is at least once. A record counts as consumed only by `Consumer.commit`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

Headers = tuple[tuple[str, bytes], ...]

RECORD_BYTES_MAX = 1_000_000
"""No bus takes a larger message; key and headers count."""


UNDECODABLE = "x-undecodable"
"""The one header, with the reason, of a record that its bus could not decode; the value is as it was sent."""


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Message(NamedTuple):
    """A message to publish. `value` may be None (Kafka's tombstone), empty or large."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers = ()

    @property
    def size(self) -> int:
        """Its bytes: key, value, headers with their names."""
        in_headers = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.key) + len(self.value or b"") + in_headers


class Record(NamedTuple):
    """A message as it lies on a partition. `timestamp_ms` is the bus's clock, only for people to read.

    `source` is the service that the bus itself proves to have published it, None if the bus proves nothing;
    what a header says about the source is no proof.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    source: str | None = None

    @property
    def place(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class BusUnavailable(Exception):
    """The bus cannot be reached or cannot take the call now; the same call may succeed later."""


class BusForbidden(BusUnavailable):
    """The bus refuses our name or password, or forbids this call, until an operator changes that."""


class PublishFailed(Exception):
    """Not every message is known to be durable; publish the batch again (same ids).

    `missing` has the indexes in the batch of those that are not; empty if it is not known which.
    """

    def __init__(self, undelivered: int, reason: str, missing: frozenset[int] = frozenset()) -> None:
        super().__init__(f"{undelivered} messages were not acknowledged: {reason}")
        self.undelivered = undelivered
        self.reason = reason
        self.missing = missing

    def is_partial(self, size: int) -> bool:
        """Tell whether a part of the batch, which had this size, is known to be durable."""
        return 0 < len(self.missing) < size


class MessageRefused(Exception):
    """The bus will never take this batch as it is (too large, unknown topic)."""


class PartitionsDiffer(ValueError):
    """Topics exist with another number of partitions than was asked for; `counts` has them by topic."""

    def __init__(self, wanted: int, counts: Mapping[str, int]) -> None:
        text = ", ".join(f"topic {topic} has {count} partitions" for topic, count in sorted(counts.items()))
        super().__init__(f"{text}, not {wanted}")
        self.wanted = wanted
        self.counts = counts


class TopicInfo(NamedTuple):
    """A topic as it is now; a topic that was deleted and made anew has another id."""

    partitions: int
    topic_id: str


class NotOwner(Exception):
    """This consumer no longer owns these partitions: it is a zombie there and must drop their records."""

    def __init__(self, partitions: frozenset[TopicPartition]) -> None:
        super().__init__(f"partitions now owned by another member: {sorted(partitions)}")
        self.partitions = partitions


class RebalanceListener(NamedTuple):
    """Callbacks of a consumer, called inside its own `poll` and `close`, on its own thread.

    `revoked` runs before another member may own the partitions; `lost` if one may own them already.
    """

    assigned: Callable[[frozenset[TopicPartition]], None]
    revoked: Callable[[frozenset[TopicPartition]], None]
    lost: Callable[[frozenset[TopicPartition]], None]


class Publisher(Protocol):
    """Writes batches. One thread at a time."""

    def publish(self, batch: Sequence[Message]) -> None:
        """Return when every message is durable, in order per key.

        Raises PublishFailed or BusUnavailable (publish the same batch again: repeats are fine) and
        MessageRefused (never again).
        """

    def end_offset(self, place: TopicPartition) -> int:
        """Return the offset that the next message of this partition will get. Raises BusUnavailable."""

    def close(self) -> None:
        """Wait a bounded time for what is under way, then disconnect."""


class Consumer(Protocol):
    """One member of a consumer group. One thread at a time; calls come from the thread that polls."""

    def poll(self, records_max: int, timeout_s: float) -> list[Record]:
        """Return up to `records_max` records, in offset order per partition, or [] after the timeout.

        Keeps the membership alive; never returns records of lost partitions. Raises BusUnavailable.
        """

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store durably that all records before these offsets are consumed.

        Raises NotOwner for partitions that are no longer this member's (the others are committed) and
        BusUnavailable. Never moves an offset back.
        """

    def rewind(self, place: TopicPartition) -> None:
        """Continue this partition at its committed offset."""

    def restart(self, place: TopicPartition) -> None:
        """Continue this partition at its beginning and commit that, for its topic was made anew.

        Raises NotOwner and BusUnavailable.
        """

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that are this member's now."""

    def committed(self, place: TopicPartition) -> int:
        """Return the group's committed offset, 0 if nothing was ever committed. Raises BusUnavailable."""

    def end_offset(self, place: TopicPartition) -> int:
        """Return the offset that the next message of this partition will get. Raises BusUnavailable."""

    def wake(self) -> None:
        """Make a poll under way, or the next one, return at once. Safe from any thread."""

    def close(self) -> None:
        """Leave the group, so that other members take over without waiting for a lease to expire."""


class Bus(Protocol):
    """A connection factory to one bus. Cheap to make; connects on first use.

    If `proves_sources`, consumers refuse records without a proven source.
    """

    @property
    def proves_sources(self) -> bool:
        """Tell whether `Record.source` is proven."""

    def create_topics(self, topics: Sequence[str], partitions: int) -> None:
        """Create missing topics. From now on publishers place messages among so many partitions of these.

        Raises PartitionsDiffer, after all that, if a topic has another number: one that grew afterwards keeps
        its messages where they belong.
        """

    def describe_topics(self, topics: Sequence[str]) -> dict[str, TopicInfo]:
        """Return those of these topics that exist, as they are now. Raises BusUnavailable, soon."""

    def partition_count(self, topic: str) -> int:
        """Return the partition count. Raises MessageRefused if the topic does not exist."""

    def publisher(self) -> Publisher:
        """Open a publisher."""

    def consumer(
        self, group: str, topics: Sequence[str], assignment: RebalanceListener | None = None
    ) -> Consumer:
        """Join `group`; a group without a committed offset starts at the beginning of a partition."""

    def close(self) -> None:
        """Close what this object opened itself; callers close their publishers and consumers."""
