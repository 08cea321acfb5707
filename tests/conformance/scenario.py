"""What scenarios have in common: messages to send, going round members, and what must hold of a group."""

from collections.abc import Iterable, Sequence

from tests.conformance.harness import Harness, Member

from holdfast.bus.port import Consumer, Message, Record, TopicPartition

POLL_S = 0.05


def numbered(topic: str, count: int, keys: int = 10, first: int = 0) -> list[Message]:
    """Make messages whose values are their numbers, dealt to the keys in turn."""
    return [Message(topic, f"key-{i % keys}".encode(), str(i).encode()) for i in range(first, first + count)]


def poll(reader: Consumer | Member, records_max: int = 500) -> list[Record]:
    """Poll once, for a short time only, so that a scenario can go round its members."""
    return reader.poll(records_max, POLL_S)


def upto(records: Iterable[Record]) -> dict[TopicPartition, int]:
    """Return the offsets to commit once these are consumed."""
    return {record.place: record.offset + 1 for record in records}


def read(harness: Harness, readers: Sequence[Consumer | Member], count: int) -> list[Record]:
    """Go round the readers, committing what each of them reads, until `count` records came; fail at more."""
    records: list[Record] = []

    def step() -> bool:
        for reader in readers:
            some = poll(reader)
            if some:
                reader.commit(upto(some))
                records.extend(some)
        return len(records) >= count

    harness.until(step)
    assert len(records) == count
    return records


def look(harness: Harness, reader: Consumer | Member, count: int, records_max: int = 500) -> list[Record]:
    """Poll one reader until at least `count` records came, and commit nothing."""
    records: list[Record] = []

    def step() -> bool:
        records.extend(poll(reader, records_max))
        return len(records) >= count

    harness.until(step)
    return records


def settle(harness: Harness, members: Sequence[Consumer | Member], topics: Sequence[str]) -> None:
    """Go round the members until they share all partitions evenly. There must be nothing to read."""

    def step() -> bool:
        for member in members:
            assert poll(member) == []
        return is_shared(harness, [member.assignment() for member in members], topics)

    harness.until(step)


def is_shared(harness: Harness, holdings: Sequence[frozenset[TopicPartition]], topics: Sequence[str]) -> bool:
    """Say whether all partitions are held, none of them twice, and by each member as many as by any other."""
    everything = places(harness, topics)
    held = [place for holding in holdings for place in holding]
    sizes = [len(holding) for holding in holdings]
    return sorted(held) == sorted(everything) and max(sizes) - min(sizes) <= 1


def places(harness: Harness, topics: Sequence[str]) -> frozenset[TopicPartition]:
    return frozenset(
        TopicPartition(topic, partition)
        for topic in topics
        for partition in range(harness.bus.partition_count(topic))
    )


def values(records: Iterable[Record]) -> list[int]:
    return [int(record.value or b"") for record in records]


def check_order(records: Iterable[Record]) -> None:
    """Fail unless each partition's offsets follow one another and each key's values rise."""
    offsets: dict[TopicPartition, int] = {}
    last: dict[bytes | None, int] = {}
    for record in records:
        assert record.offset == offsets.get(record.place, record.offset), "an offset was skipped or repeated"
        offsets[record.place] = record.offset + 1
        number = int(record.value or b"")
        assert number > last.get(record.key, -1), "a key's messages changed places"
        last[record.key] = number
