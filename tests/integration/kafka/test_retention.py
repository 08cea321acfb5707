"""How long a real broker keeps a topic's messages: set when the topic is made, checked at every start."""

import uuid

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.contracts.topics import EVENTS, TOPICS, all_topics, dead_letters
from holdfast.runtime.bus import topic_retention_ms
from holdfast.runtime.settings import RetentionSettings

DAY_MS = 86_400_000


def keeping(bootstrap: str, **retention_ms: int) -> KafkaBus:
    return KafkaBus(KafkaSettings(bootstrap, retention_ms=retention_ms))


def kept_ms(bus: KafkaBus, topic: str) -> str:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    (future,) = bus._admin().describe_configs([resource], request_timeout=30).values()
    return str(future.result()["retention.ms"].value)


def test_a_topic_is_made_with_its_retention_and_another_with_the_broker_s(kafka_bootstrap: str) -> None:
    one, two = (f"topic.{uuid.uuid4().hex[:8]}" for _ in range(2))
    bus = keeping(kafka_bootstrap, **{one: 3 * DAY_MS})
    bus.create_topics([one, two], 1)
    assert (kept_ms(bus, one), kept_ms(bus, two)) == (str(3 * DAY_MS), str(7 * DAY_MS))
    bus.create_topics([one, two], 1)  # as every process does at its start


def test_a_topic_that_keeps_more_than_is_set_refuses_the_start(kafka_bootstrap: str) -> None:
    topic = f"topic.{uuid.uuid4().hex[:8]}"
    keeping(kafka_bootstrap, **{topic: 3 * DAY_MS}).create_topics([topic], 1)
    with pytest.raises(ValueError, match=f"{topic} keeps its messages for {3 * DAY_MS} ms, longer than"):
        keeping(kafka_bootstrap, **{topic: 2 * DAY_MS}).create_topics([topic], 1)
    keeping(kafka_bootstrap, **{topic: 4 * DAY_MS}).create_topics([topic], 1)  # less is no danger


def test_every_topic_has_a_retention_and_dead_letters_the_longer_one() -> None:
    settings = RetentionSettings()
    wanted = topic_retention_ms(settings)
    assert wanted.keys() == set(all_topics())
    assert {wanted[topic] for topic in TOPICS} == {settings.topic_retention_s * 1000}
    assert wanted[dead_letters(EVENTS)] == settings.dead_letter_retention_s * 1000 > wanted[EVENTS]
