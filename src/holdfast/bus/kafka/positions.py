"""Reads the positions of consumer groups on Kafka without joining any of them.

For people and audits; a consumer reads its own position itself.
"""

import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPlace
from confluent_kafka.admin import AdminClient, OffsetSpec

from holdfast.bus.kafka.errors import unavailable
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.port import MessageRefused, TopicPartition

LOG = logging.getLogger("holdfast.bus.kafka.offsets")


class GroupPosition(NamedTuple):
    """The group has consumed all before `committed`; the partition's next message gets the offset `end`."""

    group: str
    place: TopicPartition
    committed: int
    end: int


class OffsetReader:
    """Reads the positions of groups on their topics (`reads`). Close it, or use it as a context manager.

    It has one consumer per group, which never subscribes and so never joins: an AdminClient's
    list_consumer_group_offsets kills the process when a coordinator moves (confluentinc/librdkafka#5040).
    """

    def __init__(self, settings: KafkaSettings, reads: Mapping[str, Sequence[str]]) -> None:
        self._reads = reads
        self._timeout_s = settings.lookup_timeout_s
        self._admin = AdminClient(settings.client(), logger=LOG)
        own = {"enable.auto.commit": False}
        self._consumers = {
            group: Consumer({**settings.client(), **own, "group.id": group}, logger=LOG) for group in reads
        }

    def positions(self) -> list[GroupPosition]:
        """Return the position of each group on every partition of its topics.

        A group that never committed stands at the oldest message left. Raises BusUnavailable, and
        MessageRefused if a topic does not exist.
        """
        try:
            places = self._places()
            oldest, newest = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]  # no other way
            starts, ends = self._offsets(places, oldest), self._offsets(places, newest)
            return [
                GroupPosition(group, place, max(committed, starts[place]), ends[place])
                for group in self._reads
                for place, committed in self._committed(group, places).items()
            ]
        except KafkaException as error:
            raise unavailable(error) from error

    def close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _places(self) -> list[TopicPartition]:
        found = self._admin.list_topics(timeout=self._timeout_s).topics
        topics = sorted({topic for names in self._reads.values() for topic in names})
        missing = [topic for topic in topics if topic not in found]
        if missing:
            raise MessageRefused(f"there is no topic {', '.join(missing)}")
        return [
            TopicPartition(topic, number) for topic in topics for number in sorted(found[topic].partitions)
        ]

    def _offsets(self, places: Sequence[TopicPartition], which: OffsetSpec) -> dict[TopicPartition, int]:
        asked = {KafkaPlace(*place): which for place in places}
        answers = self._admin.list_offsets(asked, request_timeout=self._timeout_s)
        found = {place: future.result().offset for place, future in answers.items()}
        return {TopicPartition(place.topic, place.partition): offset for place, offset in found.items()}

    def _committed(self, group: str, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the group's committed offsets on its topics, 0 if it has none (librdkafka: below 0)."""
        mine = [KafkaPlace(*place) for place in places if place.topic in self._reads[group]]
        stored = self._consumers[group].committed(mine, timeout=self._timeout_s)
        for each in stored:
            if each.error is not None:
                raise KafkaException(each.error)
        return {TopicPartition(each.topic, each.partition): max(each.offset, 0) for each in stored}
