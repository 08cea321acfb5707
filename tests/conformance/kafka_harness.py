"""The conformance suite on real Apache Kafka: members are processes, the test's own clients pass a proxy."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from tests.conformance.harness import T
from tests.conformance.kafka_proxy import KafkaProxy
from tests.conformance.member import MemberProcess
from tests.conformance.threads import PATIENCE_S, InThread

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.consumer import KafkaConsumer
from holdfast.bus.kafka.publisher import KafkaPublisher
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.port import BusUnavailable, Message, RebalanceListener


def make_bus(bootstrap: str, lease_s: float) -> KafkaBus:
    return KafkaBus(
        KafkaSettings(
            bootstrap,
            session_timeout_ms=int(lease_s * 1000),
            delivery_timeout_ms=4_000,
            lookup_timeout_s=5.0,
        )
    )


class HeldPublish:
    """Kafka shows a batch as its partitions' leaders take it; nothing of one can be begun and held back."""

    def __init__(self, publisher: KafkaPublisher, batch: Sequence[Message]) -> None:
        self._publisher = publisher
        self._batch = batch

    def finish(self) -> None:
        self._publisher.publish(self._batch)


class KafkaHarness:
    def __init__(self, bootstrap: str, lease_s: float) -> None:
        self.lease_s = lease_s
        self._bootstrap = bootstrap
        self._proxy = KafkaProxy(bootstrap)
        self.bus = make_bus(self._proxy.bootstrap, lease_s)
        self._publishers: list[KafkaPublisher] = []
        self._consumers: list[KafkaConsumer] = []
        self._members: list[MemberProcess] = []

    def topic(self, partitions: int = 4) -> str:
        name = f"topic.{uuid.uuid4().hex[:8]}"
        self.bus.create_topics([name], partitions)
        return name

    def group(self) -> str:
        return f"group-{uuid.uuid4().hex[:8]}"

    def publisher(self) -> KafkaPublisher:
        self._publishers.append(self.bus.publisher())
        return self._publishers[-1]

    def consumer(
        self, group: str, topics: Sequence[str], assignment: RebalanceListener | None = None
    ) -> KafkaConsumer:
        self._consumers.append(self.bus.consumer(group, topics, assignment))
        return self._consumers[-1]

    def member(self, group: str, topics: Sequence[str]) -> MemberProcess:
        member = MemberProcess(make_bus, (self._bootstrap, self.lease_s), group, topics)
        self._members.append(member)
        return member

    def until(self, step: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not step():
            assert time.monotonic() < deadline, "it never came true"

    def aside(self, call: Callable[[], T]) -> InThread[T]:
        return InThread(call)

    def grow(self, topic: str, partitions: int) -> None:
        admin = self._admin()
        for future in admin.create_partitions([NewPartitions(topic, partitions)]).values():
            future.result()
        self._until_known(topic, partitions)

    def make_anew(self, topic: str, partitions: int) -> None:
        admin = self._admin()
        for future in admin.delete_topics([topic], operation_timeout=10).values():
            future.result()
        self.until(lambda: topic not in self.bus.describe_topics([topic]))
        for future in admin.create_topics([NewTopic(topic, partitions, 1)], operation_timeout=10).values():
            future.result()
        self._until_known(topic, partitions)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self._bootstrap})

    def _until_known(self, topic: str, partitions: int) -> None:
        """Wait until the broker, too, has heard of it from the controller."""

        def known() -> bool:
            found = self.bus.describe_topics([topic])
            return topic in found and found[topic].partitions == partitions

        self.until(known)

    def begin_publish(self, batch: Sequence[Message]) -> HeldPublish:
        return HeldPublish(self.publisher(), batch)

    @contextmanager
    def outage(self) -> Iterator[None]:
        self._proxy.shut()
        try:
            yield
        finally:
            self._proxy.open()

    def close(self) -> None:
        for member in self._members:
            member.end()
        for consumer in self._consumers:
            with suppress(BusUnavailable):  # the scenario may have broken its connection
                consumer.close()
        for publisher in self._publishers:
            publisher.close()
        self.bus.close()
        self._proxy.shut()
