"""Topics that change under those who use them: grown, or deleted and made anew."""

from tests.conformance.harness import Harness
from tests.conformance.scenario import numbered, poll

from holdfast.bus.partitioner import misplaced
from holdfast.bus.port import BusUnavailable, Consumer, NotOwner, Record, TopicInfo, TopicPartition

PARTITIONS = 4


def joined(harness: Harness, topic: str) -> Consumer:
    """Return the only member of a group, once it has all partitions."""
    consumer = harness.consumer(harness.group(), [topic])
    harness.until(lambda: not poll(consumer) and len(consumer.assignment()) == PARTITIONS)
    return consumer


def read(harness: Harness, consumer: Consumer, count: int) -> list[Record]:
    """Return the next records, at least so many."""
    found: list[Record] = []

    def enough() -> bool:
        found.extend(poll(consumer))
        return len(found) >= count

    harness.until(enough)
    return found


def test_a_topic_says_how_many_partitions_it_has_and_which_one_it_is(harness: Harness) -> None:
    topic = harness.topic(PARTITIONS)
    first = harness.bus.describe_topics([topic, "no.such.topic"])
    assert {name: info.partitions for name, info in first.items()} == {topic: PARTITIONS}
    assert harness.bus.describe_topics([topic]) == first
    harness.grow(topic, 6)
    assert harness.bus.describe_topics([topic]) == {topic: TopicInfo(6, first[topic].topic_id)}
    harness.make_anew(topic, PARTITIONS)
    anew = harness.bus.describe_topics([topic])[topic]
    assert anew.partitions == PARTITIONS
    assert anew.topic_id != first[topic].topic_id


def test_a_topic_that_grew_keeps_every_message_where_its_key_belongs(harness: Harness) -> None:
    """Also for publishers that were opened before, and for those that are opened after it."""
    topic = harness.topic(PARTITIONS)
    consumer = joined(harness, topic)
    before = harness.publisher()
    before.publish(numbered(topic, 40, keys=20))
    harness.grow(topic, 7)
    before.publish(numbered(topic, 40, keys=20, first=40))
    harness.publisher().publish(numbered(topic, 40, keys=20, first=80))
    records = read(harness, consumer, 120)
    assert len(records) == 120
    assert misplaced(records, PARTITIONS) == []
    assert {record.partition for record in records} == set(range(PARTITIONS))


def test_a_topic_that_was_made_anew_is_read_from_its_beginning_by_whoever_restarts(harness: Harness) -> None:
    topic = harness.topic(PARTITIONS)
    consumer = joined(harness, topic)
    publisher = harness.publisher()
    publisher.publish(numbered(topic, 80, keys=20))
    records = read(harness, consumer, 80)
    ends: dict[TopicPartition, int] = {}
    for record in records:
        ends[record.place] = max(ends.get(record.place, 0), record.offset + 1)
    consumer.commit(ends)
    harness.make_anew(topic, PARTITIONS)
    fresh = harness.publisher()
    fresh.publish(numbered(topic, 20, keys=20, first=1000))
    harness.until(lambda: _restarted(consumer, topic))
    expected = {message.value for message in numbered(topic, 20, keys=20, first=1000)}
    again: set[bytes | None] = set()

    def complete() -> bool:
        again.update(record.value for record in poll(consumer))
        return expected <= again

    harness.until(complete)
    for place in consumer.assignment():
        assert consumer.committed(place) == 0


def _restarted(consumer: Consumer, topic: str) -> bool:
    """Restart every partition, as soon as this member has them all; Kafka may take them away meanwhile."""
    try:
        poll(consumer)
        places = sorted(consumer.assignment())
        if len(places) < PARTITIONS:
            return False
        for place in places:
            consumer.restart(place)
    except (BusUnavailable, NotOwner):
        return False
    return True
