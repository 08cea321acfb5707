"""The shared Kafka and topics on it; tests that break a broker have their own."""

import uuid
from collections.abc import Iterator

import pytest

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.settings import KafkaSettings


@pytest.fixture
def bus(kafka_bootstrap: str) -> Iterator[KafkaBus]:
    bus = KafkaBus(KafkaSettings(kafka_bootstrap))
    yield bus
    bus.close()


@pytest.fixture
def topic(bus: KafkaBus) -> str:
    name = f"topic.{uuid.uuid4().hex[:8]}"
    bus.create_topics([name], 2)
    return name
