"""A broker that is killed or frozen: what was acknowledged stays, and no call waits without end."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
from tests.conformance.threads import InThread
from tests.eventually import eventually
from tests.integration.kafka.reading import read, read_all
from tests.kafka import LIBS

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.port import BusUnavailable, Message, NotOwner, PublishFailed, TopicPartition
from holdfast.local.kafka import LocalKafka

T = TypeVar("T")


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker that these tests may freeze and kill, and leave as they found it."""
    with LocalKafka(tmp_path_factory.mktemp("kafka"), libs=LIBS) as kafka:
        yield kafka


@pytest.fixture
def bus(own_kafka: LocalKafka) -> Iterator[KafkaBus]:
    """A bus that does not wait for long."""
    bus = KafkaBus(
        KafkaSettings(
            own_kafka.bootstrap, delivery_timeout_ms=3_000, session_timeout_ms=4_000, lookup_timeout_s=1.0
        )
    )
    yield bus
    bus.close()


@pytest.fixture
def place(bus: KafkaBus) -> TopicPartition:
    """The one partition of a new topic."""
    name = f"topic.{uuid.uuid4().hex[:8]}"
    bus.create_topics([name], 1)
    return TopicPartition(name, 0)


@contextmanager
def frozen(kafka: LocalKafka) -> Iterator[None]:
    kafka.pause()
    try:
        yield
    finally:
        kafka.resume()


def within(seconds: float, call: Callable[[], T]) -> T:
    begun = time.monotonic()
    try:
        return call()
    finally:
        assert time.monotonic() - begun < seconds


def test_what_was_acknowledged_survives_a_kill_in_mid_publish(
    own_kafka: LocalKafka, bus: KafkaBus, place: TopicPartition
) -> None:
    publisher = bus.publisher()
    acknowledged: list[int] = []
    stopping: list[bool] = []

    def publish_on_and_on() -> None:
        while not stopping:
            first = len(acknowledged)
            numbers = range(first, first + 100)
            try:
                publisher.publish(
                    [Message(place.topic, b"key-%d" % (i % 9), str(i).encode()) for i in numbers]
                )
            except (BusUnavailable, PublishFailed):
                continue  # the same batch again
            acknowledged.extend(numbers)

    aside = InThread(publish_on_and_on)
    for _ in range(2):
        before = len(acknowledged)
        eventually(lambda before=before: len(acknowledged) > before + 500, "messages flow")  # type: ignore[misc]
        own_kafka.kill()
        own_kafka.restart()
    before = len(acknowledged)
    eventually(lambda: len(acknowledged) > before + 500, "messages flow again")
    stopping.append(True)
    aside.wait()
    seen: dict[bytes | None, dict[int, None]] = {}  # each number where it came first
    for record in read_all(bus, place.topic, len(acknowledged)):
        seen.setdefault(record.key, {}).setdefault(int(record.value or b""))
    assert sorted(number for of_key in seen.values() for number in of_key) == acknowledged
    assert all(list(of_key) == sorted(of_key) for of_key in seen.values())


def test_a_frozen_broker_blocks_no_call_for_long(
    own_kafka: LocalKafka, bus: KafkaBus, place: TopicPartition
) -> None:
    publisher, consumer = bus.publisher(), bus.consumer("frozen", [place.topic])
    publisher.publish([Message(place.topic, b"k", str(i).encode()) for i in range(20)])
    assert len(read(consumer, 20)) == 20
    consumer.commit({place: 5})
    with frozen(own_kafka):
        with pytest.raises(BusUnavailable):
            within(3, lambda: consumer.commit({place: 10}))
        with pytest.raises(BusUnavailable):
            within(3, lambda: consumer.committed(place))
        with pytest.raises(BusUnavailable):
            within(3, lambda: consumer.end_offset(place))
        with pytest.raises(BusUnavailable):
            within(3, lambda: publisher.end_offset(place))
        with pytest.raises(BusUnavailable):
            within(3, lambda: bus.partition_count(place.topic))
        with pytest.raises(PublishFailed):
            within(6, lambda: publisher.publish([Message(place.topic, b"k", b"20")]))
        within(1, lambda: consumer.rewind(place))
    eventually(lambda: publishes(bus, place.topic), "publishing heals")
    assert {int(record.value or b"") for record in read(consumer, 11)} >= set(range(10, 20))
    consumer.close()


def publishes(bus: KafkaBus, topic: str) -> bool:
    try:
        bus.publisher().publish([Message(topic, b"k", b"21")])
    except (BusUnavailable, PublishFailed):
        return False
    return True


def test_leaving_does_not_wait_for_an_answer_that_never_comes(
    own_kafka: LocalKafka, bus: KafkaBus, place: TopicPartition
) -> None:
    consumer = bus.consumer("leaving", [place.topic])
    bus.publisher().publish([Message(place.topic, b"k", b"0")])
    read(consumer, 1)
    with frozen(own_kafka):
        with pytest.raises(BusUnavailable):
            consumer.commit({place: 1})
        within(15, consumer.close)
    assert consumer.assignment() == frozenset()


def test_a_consumer_says_when_no_broker_is_there_and_goes_on_when_one_is(
    own_kafka: LocalKafka, bus: KafkaBus, place: TopicPartition
) -> None:
    consumer = bus.consumer("patient", [place.topic])
    bus.publisher().publish([Message(place.topic, b"k", str(i).encode()) for i in range(10)])
    assert len(read(consumer, 10)) == 10
    consumer.commit({place: 4})
    own_kafka.kill()

    def refused() -> bool:
        try:
            consumer.poll(500, 0.2)
        except BusUnavailable:
            return True
        return False

    eventually(refused, "a poll says that there is no broker")
    assert all(refused() for _ in range(10)), "and so does every further one"
    consumer.rewind(place)
    own_kafka.restart()
    assert [int(record.value or b"") for record in read(consumer, 6)][:6] == [4, 5, 6, 7, 8, 9]

    def committed() -> bool:
        try:
            consumer.poll(500, 0.05)
            consumer.commit({place: 10})
        except (BusUnavailable, NotOwner):
            return False
        return True

    eventually(committed, "a commit is taken")
    consumer.close()
