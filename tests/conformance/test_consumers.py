"""One consumer: what counts as consumed, going back, pausing, being woken, and a bus that is away."""

from collections.abc import Sequence
from functools import partial

import pytest
from tests.conformance.harness import Harness
from tests.conformance.scenario import check_order, look, numbered, places, poll, read, upto, values

from holdfast.bus.port import BusUnavailable, Message, NotOwner, Publisher, PublishFailed, TopicPartition


def test_groups_do_not_see_each_other(harness: Harness) -> None:
    topic = harness.topic()
    harness.publisher().publish(numbered(topic, 50))
    for _ in range(2):
        reader = harness.consumer(harness.group(), [topic])
        assert sorted(values(read(harness, [reader], 50))) == list(range(50))


def test_a_group_continues_where_it_committed(harness: Harness) -> None:
    topic, group = harness.topic(), harness.group()
    harness.publisher().publish(numbered(topic, 50))
    first = harness.consumer(group, [topic])
    consumed = read(harness, [first], 50)
    harness.publisher().publish(numbered(topic, 50, first=50))
    look(harness, first, 1)
    first.close()
    again = read(harness, [harness.consumer(group, [topic])], 50)
    check_order(consumed + again)
    assert sorted(values(again)) == list(range(50, 100))


def test_rewind_goes_back_to_the_committed_offset(harness: Harness) -> None:
    topic = harness.topic(partitions=2)
    harness.publisher().publish(numbered(topic, 100))
    reader = harness.consumer(harness.group(), [topic])
    batch = look(harness, reader, 100, records_max=20)
    place = batch[0].place
    of_place = [r for r in batch if r.place == place]
    reader.commit(upto(of_place[:7]))
    reader.rewind(place)
    again = read(harness, [reader], len(of_place) - 7)
    assert again == of_place[7:]


def test_what_is_not_ours_cannot_be_committed(harness: Harness) -> None:
    topic, foreign = harness.topic(partitions=1), harness.topic(partitions=1)
    mine, other = TopicPartition(topic, 0), TopicPartition(foreign, 0)
    publisher = harness.publisher()
    publisher.publish(numbered(topic, 5) + numbered(foreign, 5))
    reader = harness.consumer(harness.group(), [topic])
    look(harness, reader, 5)
    reader.rewind(other)
    with pytest.raises(NotOwner) as refused:
        reader.commit({mine: 5, other: 5})
    assert refused.value.partitions == {other}
    assert (reader.committed(mine), reader.committed(other)) == (5, 0)
    assert reader.assignment() == {mine}


def test_waking_ends_a_poll(harness: Harness) -> None:
    topic = harness.topic()
    reader = harness.consumer(harness.group(), [topic])
    harness.until(lambda: not poll(reader) and reader.assignment() == places(harness, [topic]))
    polling = harness.aside(lambda: reader.poll(500, 3600.0))
    reader.wake()
    assert polling.wait() == []


def test_waking_ends_the_next_poll(harness: Harness) -> None:
    reader = harness.consumer(harness.group(), [harness.topic()])
    harness.until(lambda: not poll(reader) and len(reader.assignment()) == 4)
    reader.wake()
    assert harness.aside(lambda: reader.poll(500, 3600.0)).wait() == []


def test_a_publish_ends_a_poll(harness: Harness) -> None:
    topic = harness.topic()
    reader = harness.consumer(harness.group(), [topic])
    harness.until(lambda: not poll(reader) and len(reader.assignment()) == 4)
    harness.publisher().publish(numbered(topic, 1))
    polling = harness.aside(lambda: reader.poll(500, 3600.0))
    assert values(polling.wait()) == [0]


def test_publishing_fails_loudly_while_the_bus_is_away_and_heals(harness: Harness) -> None:
    topic = harness.topic()
    publisher, reader = harness.publisher(), harness.consumer(harness.group(), [topic])
    publisher.publish(numbered(topic, 10))
    with harness.outage(), pytest.raises((BusUnavailable, PublishFailed)):
        publisher.publish(numbered(topic, 10, first=10))
    harness.until(partial(_is_published, publisher, numbered(topic, 10, first=10)))
    seen: set[int] = set()

    def step() -> bool:
        some = poll(reader)
        reader.commit(upto(some))
        seen.update(values(some))
        return seen == set(range(20))

    harness.until(step)


def test_a_consumer_survives_the_bus_being_away(harness: Harness) -> None:
    topic = harness.topic()
    publisher, reader = harness.publisher(), harness.consumer(harness.group(), [topic])
    publisher.publish(numbered(topic, 10))
    read(harness, [reader], 10)
    with harness.outage(), pytest.raises(BusUnavailable):
        reader.committed(TopicPartition(topic, 0))
    seen: list[int] = []

    def step() -> bool:
        try:
            if publisher.end_offset(TopicPartition(topic, 0)) >= 0 and not seen:
                publisher.publish(numbered(topic, 10, first=10))
            some = poll(reader)
            reader.commit(upto(some))
        except (BusUnavailable, PublishFailed, NotOwner):
            return False
        seen.extend(values(some))
        return set(seen) == set(range(10, 20))

    harness.until(step)


def test_acknowledged_is_durable_whatever_the_bus_does(harness: Harness) -> None:
    """The bus goes away again and again; what was acknowledged is read, in order."""
    topic = harness.topic()
    publisher = harness.publisher()
    for start in range(0, 100, 20):
        publish = partial(_is_published, publisher, numbered(topic, 20, first=start))
        harness.until(publish)
        with harness.outage():
            assert not publish()
    reader = harness.consumer(harness.group(), [topic])
    seen: dict[int, bytes | None] = {}

    def step() -> bool:
        for record in poll(reader):
            seen.setdefault(int(record.value or b""), record.key)
        return len(seen) == 100

    harness.until(step)
    for key in set(seen.values()):
        of_key = [number for number, its_key in seen.items() if its_key == key]
        assert of_key == sorted(of_key)


def _is_published(publisher: Publisher, batch: Sequence[Message]) -> bool:
    try:
        publisher.publish(batch)
    except (BusUnavailable, PublishFailed):
        return False
    return True
