"""The writer's task that looks whether the topics are still the ones that this service was started on.

More partitions change nothing by themselves, because publishers go on placing messages among the number that
was agreed: they are an alarm until `holdfast bus repartition`. A topic that was made anew is read from its
beginning.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from holdfast.bus.port import Bus, BusUnavailable, NotOwner, TopicInfo, TopicPartition
from holdfast.contracts.topics import TOPICS
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.periodic_task import PeriodicTask

LOOK_EVERY_MS = 5_000

log = structlog.get_logger(__name__)


class TopicWatch:
    """`differing` has the topics whose number of partitions is not `partitions`, 0 for one that is missing.

    `made_anew` counts the partitions that were read from their beginning.
    """

    def __init__(self, bus: Bus, partitions: int) -> None:
        self._bus = bus
        self._partitions = partitions
        self._seen: dict[TopicPartition, str] = {}
        self.differing: dict[str, int] = {}
        self.made_anew = 0

    def run_once(self, manager: KafkaConsumerManager[Any]) -> None:
        """Look once. Raises StoreUnavailable."""
        try:
            topics = self._bus.describe_topics(list(TOPICS))
            missing = dict.fromkeys(TOPICS, 0)
            self._compare_counts(missing | {topic: info.partitions for topic, info in topics.items()})
            self._compare_ids(manager, topics)
        except (BusUnavailable, NotOwner) as error:
            log.warning("topics_not_compared", error=str(error))

    def periodic_task(self) -> PeriodicTask[Any]:
        """Return this as a periodic task of the writer."""
        return PeriodicTask("topic_watch", LOOK_EVERY_MS, self.run_once)

    def _compare_counts(self, counts: Mapping[str, int]) -> None:
        differing = {topic: count for topic, count in counts.items() if count != self._partitions}
        for topic, count in differing.items():
            if self.differing.get(topic) != count:
                log.error("partitions_differ", topic=topic, partitions=count, agreed=self._partitions)
        self.differing = differing

    def _compare_ids(self, manager: KafkaConsumerManager[Any], topics: Mapping[str, TopicInfo]) -> None:
        """Begin anew where a partition's topic is not the one that its committed offset counts for.

        The new id is written last, so that this is repeated after a crash, which only repeats messages.
        """
        owned = manager.consumer.assignment()
        ids = {place: topics[place.topic].topic_id for place in owned if place.topic in topics}
        if ids == self._seen:
            return
        with manager.processor.store.transaction() as tx:
            known = tx.topic_ids(topics.keys())
        anew = sorted(place for place in ids if known.get(place, ids[place]) != ids[place])
        for place in anew:
            log.error("topic_made_anew", topic=place.topic, partition=place.partition)
            manager.restart(place)
            self.made_anew += 1
        with manager.processor.store.transaction() as tx:
            tx.save_topic_ids({place: ids[place] for place in ids if known.get(place) != ids[place]})
        self._seen = ids
