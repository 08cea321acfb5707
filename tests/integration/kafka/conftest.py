"""A Kafka of a test's own, that it may freeze and kill, and topics on the shared one."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kafka import LIBS

from holdfast.bus.kafka import KafkaBus
from holdfast.bus.kafka_settings import KafkaSettings
from holdfast.local.kafka import LocalKafka


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[LocalKafka]:
    with LocalKafka(tmp_path / "kafka", libs=LIBS) as kafka:
        yield kafka


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
