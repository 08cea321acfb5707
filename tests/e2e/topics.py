"""What lies on a platform's bus, read as a consumer group of its own, from the beginning."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from tests.open_bus import OpenBus

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.port import Bus, Message, Record, TopicPartition
from holdfast.bus.postgres.bus import PostgresBus
from holdfast.contracts.topics import TOPICS
from holdfast.local.platform import Platform
from holdfast.runtime.principals import role_of


def types_on_the_bus(platform: Platform) -> set[str]:
    """Return the `ce_type` of every record on every topic of the contracts."""
    return {dict(record.headers)["ce_type"].decode() for record in records(platform)}


def records(platform: Platform) -> Iterator[Record]:
    """Read every topic to its present end."""
    bus = bus_of(platform)
    consumer = bus.consumer(f"observer-{uuid4().hex}", sorted(TOPICS))
    reader = bus.publisher()
    places = sum(bus.partition_count(topic) for topic in TOPICS)
    read: dict[TopicPartition, int] = {}
    try:
        while len(consumer.assignment()) < places or any(
            read.get(place, 0) < reader.end_offset(place) for place in consumer.assignment()
        ):
            for record in consumer.poll(500, 0.2):
                read[record.place] = record.offset + 1
                yield record
    finally:
        consumer.close()
        reader.close()
        bus.close()


def bus_of(platform: Platform) -> Bus:
    """Return a platform's bus, for one who reads everything."""
    info = platform.info.bus
    if info.kind == "kafka":
        return KafkaBus(KafkaSettings(info.bootstrap or ""))
    return OpenBus(platform.postgres.dsn("bus"), Path(platform.info.wakeup_folder))


def publish_as(platform: Platform, service: str, messages: Sequence[Message]) -> None:
    """Publish on a platform's bus on PostgreSQL as this service."""
    bus = PostgresBus(platform.postgres.dsn("bus", role_of(service)), Path(platform.info.wakeup_folder))
    publisher = bus.publisher()
    publisher.publish(messages)
    publisher.close()
    bus.close()
