"""Where consumer groups stand on Kafka, read by an onlooker that joins none of them.

For people and audits; a consumer asks for its own position itself.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka import TopicPartition as KafkaPlace
from confluent_kafka.admin import AdminClient, OffsetSpec

from holdfast.bus.kafka_errors import unavailable
from holdfast.bus.kafka_settings import KafkaSettings
from holdfast.bus.port import MessageRefused, TopicPartition


class GroupPosition(NamedTuple):
    """All before `committed` is consumed by the group; the partition's next message gets `end`."""

    group: str
    place: TopicPartition
    committed: int
    end: int


def group_positions(settings: KafkaSettings, reads: Mapping[str, Sequence[str]]) -> list[GroupPosition]:
    """Return the position of each group on every partition of its topics.

    A group that never committed stands at the oldest message that is left. Raises BusUnavailable, and
    MessageRefused where a topic does not exist.
    """
    admin = AdminClient(settings.client())
    topics = sorted({topic for names in reads.values() for topic in names})
    try:
        places = _places(admin, topics, settings.lookup_timeout_s)
        oldest, newest = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]  # no other way
        starts = _offsets(admin, places, oldest, settings.lookup_timeout_s)
        ends = _offsets(admin, places, newest, settings.lookup_timeout_s)
        committed = {group: _committed(admin, group, settings.lookup_timeout_s) for group in reads}
    except KafkaException as error:
        raise unavailable(error) from error
    return [
        GroupPosition(group, place, max(committed[group].get(place, 0), starts[place]), ends[place])
        for group, names in reads.items()
        for place in places
        if place.topic in names
    ]


def _places(admin: AdminClient, topics: Sequence[str], timeout_s: float) -> list[TopicPartition]:
    found = admin.list_topics(timeout=timeout_s).topics
    missing = [topic for topic in topics if topic not in found]
    if missing:
        raise MessageRefused(f"there is no topic {', '.join(missing)}")
    return [
        TopicPartition(topic, partition) for topic in topics for partition in sorted(found[topic].partitions)
    ]


def _offsets(
    admin: AdminClient, places: Sequence[TopicPartition], which: OffsetSpec, timeout_s: float
) -> dict[TopicPartition, int]:
    asked = {KafkaPlace(*place): which for place in places}
    answers = admin.list_offsets(asked, request_timeout=timeout_s)
    return {
        TopicPartition(place.topic, place.partition): future.result().offset
        for place, future in answers.items()
    }


def _committed(admin: AdminClient, group: str, timeout_s: float) -> dict[TopicPartition, int]:
    (future,) = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)], request_timeout=timeout_s
    ).values()
    stored = future.result().topic_partitions
    return {TopicPartition(each.topic, each.partition): each.offset for each in stored if each.offset >= 0}
