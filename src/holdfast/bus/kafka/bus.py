"""Kafka behind the bus port: the production bus, over librdkafka's synchronous clients.

`publisher` and `consumer` have its two sides; this module creates topics and counts partitions.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka import TopicPartition as KafkaPlace
from confluent_kafka.admin import AdminClient, ClusterMetadata, NewTopic, OffsetSpec

from holdfast.bus.kafka.client_log import client_log
from holdfast.bus.kafka.consumer import KafkaConsumer
from holdfast.bus.kafka.errors import FORBIDDEN, error_of, unavailable
from holdfast.bus.kafka.origin import MessageOrigin
from holdfast.bus.kafka.publisher import KafkaPublisher
from holdfast.bus.kafka.retention import RETENTION, check_retention
from holdfast.bus.kafka.settings import TOPIC_KNOWN_S, KafkaSettings
from holdfast.bus.message_signature import SigningKeys
from holdfast.bus.port import (
    BusUnavailable,
    MessageRefused,
    PartitionsDiffer,
    RebalanceListener,
    TopicInfo,
    TopicPartition,
)

REPLICAS_IN_SYNC_MIN = 2

_ATTEMPT_S = 2.0


class KafkaBus:
    """One Kafka cluster. Safe to use from several threads; publishers and consumers are not.

    It proves sources: on a topic with one writer by the cluster's ACLs, on a topic with several by signatures
    with `keys`; without keys nothing proves which service wrote there.
    """

    proves_sources = True

    def __init__(self, settings: KafkaSettings, keys: SigningKeys | None = None) -> None:
        self._settings = settings
        self._origin = MessageOrigin(keys)
        self._lock = threading.Lock()
        self._client: AdminClient | None = None
        self._placed: dict[str, int] = {}
        self._auth_error: KafkaError | None = None  # how a broker last refused our name and password

    def create_topics(self, topics: Sequence[str], partitions: int) -> None:
        """See the port. Raises BusUnavailable, also if the cluster is too small for a topic's copies."""
        cluster = self._describe()
        missing = [name for name in topics if name not in cluster.topics]
        if missing:
            self._create([self._new(name, partitions, len(cluster.brokers)) for name in missing])
        self._placed |= dict.fromkeys(topics, partitions)
        counts = {name: self.partition_count(name) for name in topics}
        wanted = {name: ms for name, ms in self._settings.retention_ms.items() if name in topics}
        check_retention(self._admin(), wanted, self._settings.lookup_timeout_s)
        if differing := {name: count for name, count in counts.items() if count != partitions}:
            raise PartitionsDiffer(partitions, differing)

    def describe_topics(self, topics: Sequence[str]) -> dict[str, TopicInfo]:
        """See the port."""
        timeout_s = min(_ATTEMPT_S, self._settings.lookup_timeout_s)
        asked = TopicCollection(list(topics))
        found = {}
        for topic, future in self._admin().describe_topics(asked, request_timeout=timeout_s).items():
            try:
                topic_info = future.result()
            except KafkaException as error:
                if error_of(error).name() != "UNKNOWN_TOPIC_OR_PART":
                    raise unavailable(error) from error
            else:
                found[topic] = TopicInfo(len(topic_info.partitions), str(topic_info.topic_id))
        return found

    def partition_count(self, topic: str) -> int:
        """See the port. Raises BusUnavailable. Retries for a while: brokers hear of a new topic in turn."""
        deadline = time.monotonic() + TOPIC_KNOWN_S
        while True:
            found = self._describe(topic).topics[topic]
            if found.error is None:
                return len(found.partitions)
            if found.error.name() != "UNKNOWN_TOPIC_OR_PART":
                raise unavailable(KafkaException(found.error))
            if time.monotonic() > deadline:
                raise MessageRefused(f"there is no topic {topic}")
            time.sleep(0.05)

    def living_members(self, groups: Sequence[str]) -> dict[str, int]:
        """Return how many members each of these groups has now. Raises BusUnavailable."""
        asked = self._admin().describe_consumer_groups(
            list(groups), request_timeout=self._settings.lookup_timeout_s
        )
        try:
            return {group: len(future.result().members) for group, future in asked.items()}
        except KafkaException as error:
            raise unavailable(error) from error

    def broker_count(self) -> int:
        """Return how many brokers are up. Raises BusUnavailable."""
        return len(self._describe().brokers)

    def publisher(self) -> KafkaPublisher:
        """See the port."""
        return KafkaPublisher(self._settings, self._end_offset, self._origin, self._placed)

    def consumer(
        self, group: str, topics: Sequence[str], assignment: RebalanceListener | None = None
    ) -> KafkaConsumer:
        """See the port."""
        return KafkaConsumer(self._settings, group, topics, assignment, self._end_offset, self._origin)

    def close(self) -> None:
        """See the port."""
        with self._lock:
            self._client = None

    def _admin(self) -> AdminClient:
        with self._lock:
            if self._client is None:
                options: dict[str, Any] = {**self._settings.client(), "error_cb": self._on_error}
                self._client = AdminClient(options, logger=client_log("admin"))
            client = self._client
        client.poll(0)  # its log lines wait in a queue until a poll
        return client

    def _describe(self, topic: str | None = None) -> ClusterMetadata:
        client = self._admin()
        self._auth_error = None
        try:
            return client.list_topics(topic, timeout=self._settings.lookup_timeout_s)
        except KafkaException as error:
            client.poll(0)  # runs `_on_error`: the exception says only that no broker answered
            raise unavailable(KafkaException(self._auth_error) if self._auth_error else error) from error

    def _on_error(self, error: KafkaError) -> None:
        if error.name() in FORBIDDEN:
            self._auth_error = error

    def _new(self, name: str, partitions: int, brokers: int) -> NewTopic:
        replicas = self._settings.replicas(brokers)
        in_sync = min(replicas, REPLICAS_IN_SYNC_MIN)
        config = {"min.insync.replicas": str(in_sync)}
        if name in self._settings.retention_ms:
            config[RETENTION] = str(self._settings.retention_ms[name])
        return NewTopic(name, partitions, replicas, config=config)

    def _create(self, topics: list[NewTopic]) -> None:
        for future in (
            self._admin().create_topics(topics, operation_timeout=self._settings.lookup_timeout_s).values()
        ):
            try:
                future.result()
            except KafkaException as error:
                if error_of(error).name() != "TOPIC_ALREADY_EXISTS":  # another process created it just now
                    raise unavailable(error) from error

    def _end_offset(self, place: TopicPartition) -> int:
        deadline = time.monotonic() + self._settings.lookup_timeout_s
        while (left := deadline - time.monotonic()) > 0:
            offset = self._ask_end(place, min(_ATTEMPT_S, left))
            if offset is not None:
                return offset
            self._describe(place.topic)  # the leader may have changed: librdkafka does not look by itself
        raise BusUnavailable(f"no answer in time to where {place} ends")

    def _ask_end(self, place: TopicPartition, timeout_s: float) -> int | None:
        asked = {KafkaPlace(*place): OffsetSpec.latest()}  # type: ignore[no-untyped-call]  # no typed way
        (future,) = self._admin().list_offsets(asked, request_timeout=timeout_s).values()
        try:
            offset = int(future.result().offset)
        except KafkaException as error:
            raise unavailable(error) from error
        return offset if offset >= 0 else None  # librdkafka returns -1001 after a timeout
