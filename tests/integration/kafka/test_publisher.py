"""Publishing to a real broker: what only librdkafka's producer can get wrong."""

import ctypes
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import pytest
from tests.integration.kafka.reading import read_all

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.publisher import KafkaPublisher
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.port import RECORD_BYTES_MAX, Message, MessageRefused, PublishFailed

OUT_OF_ORDER_SEQUENCE_NUMBER = 45


@pytest.fixture
def publisher(bus: KafkaBus) -> Iterator[KafkaPublisher]:
    publisher = bus.publisher()
    yield publisher
    publisher.close()


def batch_of(topic: str, count: int) -> list[Message]:
    return [Message(topic, f"key-{i % 7}".encode(), str(i).encode()) for i in range(count)]


def break_for_good(publisher: KafkaPublisher) -> None:
    """Have librdkafka raise a fatal error in the producer, by its own function for tests."""
    producer = publisher._producer
    assert producer is not None
    (library,) = Path(confluent_kafka.__file__).parent.with_suffix(".libs").glob("librdkafka-*")
    librdkafka = ctypes.CDLL(str(library))
    handle = ctypes.c_void_p.from_address(id(producer) + object.__basicsize__)
    librdkafka.rd_kafka_name.restype = ctypes.c_char_p
    assert b"holdfast" in librdkafka.rd_kafka_name(handle)  # the handle comes first in a producer's memory
    assert librdkafka.rd_kafka_test_fatal_error(handle, OUT_OF_ORDER_SEQUENCE_NUMBER, b"a test") == 0


def test_after_a_fatal_error_a_new_producer_goes_on(
    bus: KafkaBus, topic: str, publisher: KafkaPublisher
) -> None:
    publisher.publish(batch_of(topic, 10))
    break_for_good(publisher)
    first = publisher._producer
    with pytest.raises(PublishFailed) as failed:
        publisher.publish(batch_of(topic, 10))
    assert failed.value.undelivered == 10
    publisher.publish(batch_of(topic, 10))
    assert publisher._producer is not first
    assert len(read_all(bus, topic, 20)) == 20


def test_a_batch_larger_than_the_local_queue_waits_for_room(
    kafka_bootstrap: str, bus: KafkaBus, topic: str
) -> None:
    settings = KafkaSettings(kafka_bootstrap, producer_options={"queue.buffering.max.messages": 10})
    publisher = KafkaBus(settings).publisher()
    publisher.publish(batch_of(topic, 300))
    publisher.close()
    assert sorted(int(record.value or b"") for record in read_all(bus, topic, 300)) == list(range(300))


def test_the_largest_messages_fit_however_they_are_batched(
    bus: KafkaBus, topic: str, publisher: KafkaPublisher
) -> None:
    """Random bytes, which no compression makes smaller, and headers up to the limit."""
    headers = (("ce_id", b"x" * 1_000),)
    room = RECORD_BYTES_MAX - Message(topic, b"k", b"", headers).size
    batch = [Message(topic, b"k", os.urandom(room), headers) for _ in range(4)]
    publisher.publish([*batch, Message(topic, b"k", b"small")])
    values = [record.value for record in read_all(bus, topic, 5)]
    assert values == [*(message.value for message in batch), b"small"]


def test_a_batch_refused_for_a_size_leaves_no_trace(
    bus: KafkaBus, topic: str, publisher: KafkaPublisher
) -> None:
    with pytest.raises(MessageRefused):
        publisher.publish([*batch_of(topic, 5), Message(topic, b"k", b"x" * RECORD_BYTES_MAX)])
    publisher.publish([Message(topic, b"k", b"after")])
    assert [record.value for record in read_all(bus, topic, 1)] == [b"after"]


def test_one_unknown_topic_refuses_the_batch(kafka_bootstrap: str, bus: KafkaBus, topic: str) -> None:
    publisher = KafkaBus(KafkaSettings(kafka_bootstrap, delivery_timeout_ms=4_000)).publisher()
    with pytest.raises(MessageRefused):
        publisher.publish([Message(f"none.{uuid.uuid4().hex}", b"k", b"lost"), Message(topic, b"k", b"kept")])
    publisher.publish([Message(topic, b"k", b"after")])
    publisher.close()
    assert read_all(bus, topic, 1)[-1].value == b"after"


def test_what_was_handed_over_before_a_refusal_is_settled(
    kafka_bootstrap: str, bus: KafkaBus, topic: str
) -> None:
    """librdkafka refuses the second message as it is handed over; the first is on its way already."""
    publisher = KafkaBus(
        KafkaSettings(kafka_bootstrap, producer_options={"message.max.bytes": 1_000})
    ).publisher()
    with pytest.raises(MessageRefused, match="MSG_SIZE_TOO_LARGE"):
        publisher.publish([Message(topic, b"k", b"x"), Message(topic, b"k", b"x" * 2_000)])
    publisher.publish([Message(topic, b"k", b"after")])
    publisher.close()
    assert [record.value for record in read_all(bus, topic, 2)] == [b"x", b"after"]
