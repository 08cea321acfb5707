"""Who published what on a real Kafka: a signature where all services write, ACLs on the other topics."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.eventually import eventually
from tests.kafka import LIBS
from tests.samples import SAMPLES, saga_id

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.message_signature import HEADER, SigningKeys, read_keys
from holdfast.bus.port import Message, Record
from holdfast.contracts.topics import EVENTS, ORCHESTRATOR, ORDER, ORDER_COMMANDS, PAYMENT
from holdfast.local.kafka import LocalKafka
from holdfast.local.keys import Keys
from holdfast.messaging.envelope import Envelope, UnreadableRecord, open_record, seal

SAGA = saga_id(1)
START_S = 240.0


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker for this module alone, since the topics' names are the contracts'."""
    kafka = LocalKafka(tmp_path_factory.mktemp("kafka"), libs=LIBS)
    kafka.start(START_S)
    try:
        KafkaBus(KafkaSettings(kafka.bootstrap)).create_topics([EVENTS, ORDER_COMMANDS], 1)
        yield kafka.bootstrap
    finally:
        kafka.stop()


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    keys = Keys(tmp_path)
    keys.ensure()
    return keys


def paid(said: str = PAYMENT) -> Message:
    return seal(f"{SAGA}:payment:done", "PaymentProcessed", SAGA, SAMPLES["PaymentProcessed"], said)


def through(bootstrap: str, published: SigningKeys | None, read: SigningKeys, message: Message) -> Record:
    """Publish with one service's keys, and return the record as another reads it."""
    writer, reader = (KafkaBus(KafkaSettings(bootstrap), each) for each in (published, read))
    consumer = reader.consumer(f"reader-{uuid4().hex}", [message.topic])
    marked = message._replace(headers=(*message.headers, ("mark", uuid4().hex.encode())))
    publisher = writer.publisher()
    publisher.publish([marked])
    publisher.close()
    found: list[Record] = []

    def look() -> bool:
        found.extend(record for record in consumer.poll(100, 0.5) if marked.headers[-1] in record.headers)
        return bool(found)

    try:
        eventually(look, "the record is read", 60)
    finally:
        consumer.close()
        writer.close()
        reader.close()
    return found[0]


def test_line_37_on_kafka_only_the_writers_signature_proves_an_event(kafka: str, keys: Keys) -> None:
    reader = read_keys(keys.messages(ORCHESTRATOR))
    payment, order = (read_keys(keys.messages(name)) for name in (PAYMENT, ORDER))
    mine = through(kafka, payment, reader, paid())
    assert (mine.source, [name for name, _ in mine.headers].count(HEADER)) == (PAYMENT, 1)
    assert isinstance(open_record(mine, ORCHESTRATOR), Envelope)
    unsigned = through(kafka, None, reader, paid())
    others = through(kafka, order, reader, paid())
    copied = Message(EVENTS, mine.key or b"", (mine.value or b"").replace(b"3564", b"3565"), mine.headers)
    changed = through(kafka, None, reader, copied)
    assert [record.source for record in (unsigned, others, changed)] == [None, ORDER, None]
    reasons = ["unproven_source", "wrong_source", "unproven_source"]
    for record, reason in zip((unsigned, others, changed), reasons, strict=True):
        opened = open_record(record, ORCHESTRATOR)
        assert isinstance(opened, UnreadableRecord)
        assert opened.reason == reason


def test_line_37_on_kafka_a_repeated_publish_of_a_signed_message_is_a_repeat(kafka: str, keys: Keys) -> None:
    """Who may write the topic may copy what lies there: that says nothing that its writer did not say."""
    reader = read_keys(keys.messages(ORCHESTRATOR))
    mine = through(kafka, read_keys(keys.messages(PAYMENT)), reader, paid())
    again = through(kafka, None, reader, Message(EVENTS, mine.key or b"", mine.value, mine.headers))
    assert again.source == PAYMENT


def test_on_kafka_a_topic_with_one_writer_needs_no_signature(kafka: str, keys: Keys) -> None:
    command = seal(f"{SAGA}:order:do", "CreateOrder", SAGA, SAMPLES["CreateOrder"], ORCHESTRATOR)
    reader = read_keys(keys.messages(ORDER))
    record = through(kafka, read_keys(keys.messages(ORCHESTRATOR)), reader, command)
    assert record.source == ORCHESTRATOR
    assert HEADER not in dict(record.headers)
