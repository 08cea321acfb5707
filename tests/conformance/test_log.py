"""What is published can be read: all of it, in order per key, byte for byte."""

import os
from collections import Counter

import pytest
from tests.conformance.harness import Harness
from tests.conformance.scenario import check_order, numbered, poll, read, upto, values

from holdfast.bus.partitioner import partition_of
from holdfast.bus.port import RECORD_BYTES_MAX, Message, MessageRefused, TopicPartition


def test_order_per_key(harness: Harness) -> None:
    topic = harness.topic()
    first, second = harness.publisher(), harness.publisher()
    for start in range(0, 1000, 100):
        batch = numbered(topic, 100, keys=10, first=start)
        first.publish([m for m in batch if m.key < b"key-5"])
        second.publish([m for m in batch if m.key >= b"key-5"])
    reader = harness.consumer(harness.group(), [topic])
    records = read(harness, [reader], 1000)
    check_order(records)
    assert sorted(values(records)) == list(range(1000))


def test_a_key_goes_to_the_same_partition_on_every_bus(harness: Harness) -> None:
    topic = harness.topic(partitions=12)
    keys = [f"0197{i:04x}-89ab-7cde-8f01-23456789abcd".encode() for i in range(100)]
    keys += [b"", b"a", b"\xff\x00"]
    harness.publisher().publish([Message(topic, key, b"") for key in keys])
    records = read(harness, [harness.consumer(harness.group(), [topic])], len(keys))
    assert {r.key: r.partition for r in records} == {key: partition_of(key, 12) for key in keys}


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"0",
        b'{"text": "line\\nbreak \\u0000 \\ud800", "umlaut": "\xc3\xa4"}\n',
        b"\x00\xff\xfe not text",
        bytes(range(256)) * 2000,
        b"x" * 500_000,
    ],
    ids=["null", "empty", "short", "json", "binary", "large-binary", "large-text"],
)
def test_values_come_back_byte_for_byte(harness: Harness, value: bytes | None) -> None:
    topic = harness.topic()
    harness.publisher().publish([Message(topic, b"before", b"1"), Message(topic, b"key", value)])
    records = read(harness, [harness.consumer(harness.group(), [topic])], 2)
    assert {r.key: r.value for r in records} == {b"before": b"1", b"key": value}
    assert all(r.timestamp_ms > 0 for r in records)


def test_headers_come_back_in_order_and_repeated(harness: Harness) -> None:
    topic = harness.topic()
    headers = (
        ("ce_id", b"1"),
        ("twice", b"a"),
        ("empty", b""),
        ("twice", b"\x00\xff"),
        ("\u00e4", b"\xc3\xa4"),
    )
    harness.publisher().publish([Message(topic, b"k", b"v", headers), Message(topic, b"k", b"v")])
    records = read(harness, [harness.consumer(harness.group(), [topic])], 2)
    assert [r.headers for r in records] == [headers, ()]


def test_a_batch_of_many_topics_and_more_than_a_poll_takes(harness: Harness) -> None:
    topics = [harness.topic(), harness.topic(), harness.topic(partitions=1)]
    batch = [m for i in range(0, 1200, 10) for topic in topics for m in numbered(topic, 10, first=i)]
    harness.publisher().publish(batch)
    reader = harness.consumer(harness.group(), topics)
    sizes, records = [], []

    def step() -> bool:
        some = poll(reader, records_max=70)
        sizes.append(len(some))
        records.extend(some)
        return len(records) >= len(batch)

    harness.until(step)
    assert max(sizes) == 70
    for topic in topics:
        of_topic = [r for r in records if r.topic == topic]
        check_order(of_topic)
        assert sorted(values(of_topic)) == list(range(1200))


def test_no_partition_starves_behind_another(harness: Harness) -> None:
    topic = harness.topic()
    large = os.urandom(16_000)  # so that what a bus fetches at once is a small part of a partition
    batch = [m._replace(value=large) for m in numbered(topic, 2000, keys=50)]
    sizes = Counter(partition_of(m.key, 4) for m in batch)
    harness.publisher().publish(batch)
    reader = harness.consumer(harness.group(), [topic])
    seen: Counter[int] = Counter()

    def step() -> bool:
        seen.update(r.partition for r in poll(reader, records_max=10))
        return len(seen) == 4

    harness.until(step)
    last = list(seen)[-1]
    others = sum(size for partition, size in sizes.items() if partition != last)
    assert sum(seen.values()) < others - 100, "partitions were read to their end before the next"


def test_refused_is_what_no_bus_will_ever_take(harness: Harness) -> None:
    topic = harness.topic()
    publisher = harness.publisher()
    with pytest.raises(MessageRefused):
        publisher.publish([Message(topic, b"k", b"1"), Message(topic, b"k", b"x" * RECORD_BYTES_MAX)])
    with pytest.raises(MessageRefused):
        publisher.publish([Message("no.such.topic", b"k", b"2")])
    with pytest.raises(MessageRefused):
        harness.bus.partition_count("no.such.topic")
    publisher.publish([Message(topic, b"k", b"3")])
    assert values(read(harness, [harness.consumer(harness.group(), [topic])], 1)) == [3]


def test_an_empty_batch_is_nothing(harness: Harness) -> None:
    topic = harness.topic(partitions=1)
    publisher = harness.publisher()
    publisher.publish([])
    assert publisher.end_offset(TopicPartition(topic, 0)) == 0


def test_offsets_are_counted_from_zero(harness: Harness) -> None:
    topic = harness.topic(partitions=1)
    place = TopicPartition(topic, 0)
    publisher, reader = harness.publisher(), harness.consumer(harness.group(), [topic])
    assert (publisher.end_offset(place), reader.end_offset(place), reader.committed(place)) == (0, 0, 0)
    publisher.publish(numbered(topic, 30))
    records = read(harness, [reader], 30)
    assert [r.offset for r in records] == list(range(30))
    assert (publisher.end_offset(place), reader.end_offset(place), reader.committed(place)) == (30, 30, 30)


def test_a_commit_never_moves_back(harness: Harness) -> None:
    topic = harness.topic(partitions=1)
    place = TopicPartition(topic, 0)
    harness.publisher().publish(numbered(topic, 30))
    reader = harness.consumer(harness.group(), [topic])
    records = read(harness, [reader], 30)
    reader.commit(upto(records[:10]))
    assert reader.committed(place) == 30
    reader.rewind(place)
    assert poll(reader) == []


def test_topics_are_created_once(harness: Harness) -> None:
    topic = harness.topic(partitions=4)
    harness.bus.create_topics([topic], 4)
    assert harness.bus.partition_count(topic) == 4
    with pytest.raises(ValueError, match=topic):
        harness.bus.create_topics([topic], 5)
    assert harness.bus.partition_count(topic) == 4


def test_an_open_publish_is_not_skipped(harness: Harness) -> None:
    """Two publishers write the same partitions; the one that took its offsets first commits last."""
    topic = harness.topic()
    reader = harness.consumer(harness.group(), [topic])
    harness.until(lambda: not poll(reader) and len(reader.assignment()) == 4)
    late = harness.begin_publish(numbered(topic, 100, keys=20))
    other = harness.publisher()
    aside = harness.aside(lambda: other.publish(numbered(topic, 100, keys=20, first=100)))
    early = [record for _ in range(5) for record in poll(reader)]
    late.finish()
    aside.wait()
    records = early + read(harness, [reader], 200 - len(early))
    offsets = {place: [r.offset for r in records if r.place == place] for place in reader.assignment()}
    assert all(found == list(range(len(found))) for found in offsets.values())
    assert sorted(values(records)) == list(range(200))
