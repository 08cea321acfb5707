"""Reading a topic to its end, as any group would."""

import uuid

from tests.eventually import eventually

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.consumer import KafkaConsumer
from holdfast.bus.port import BusUnavailable, Record


def read_all(bus: KafkaBus, topic: str, count: int) -> list[Record]:
    """Return everything on a topic once at least `count` records came."""
    consumer = bus.consumer(f"group-{uuid.uuid4().hex[:8]}", [topic])
    try:
        return read(consumer, count)
    finally:
        consumer.close()


def read(consumer: KafkaConsumer, count: int) -> list[Record]:
    """Poll, whatever troubles there are, until at least `count` records came and no more follow."""
    records: list[Record] = []

    def step() -> bool:
        try:
            some = consumer.poll(500, 0.1)
        except BusUnavailable:
            return False
        records.extend(some)
        return len(records) >= count and not some

    eventually(step, f"{count} records", 60)
    return records
