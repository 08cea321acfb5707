"""The conformance suite on PostgreSQL: members are processes, the test's own connections pass a proxy."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tests.conformance.harness import T
from tests.conformance.member import MemberProcess
from tests.conformance.tcp_proxy import TcpProxy
from tests.conformance.threads import PATIENCE_S, InThread
from tests.open_bus import OpenBus

from holdfast.bus.port import BusUnavailable, Message, RebalanceListener
from holdfast.bus.postgres.bus import PostgresBus, PostgresPublisher
from holdfast.bus.postgres.consumer import PostgresConsumer


def make_bus(dsn: str, wakeup_folder: Path | None, lease_s: float, owner: str | None = None) -> PostgresBus:
    return OpenBus(dsn, wakeup_folder, lease_s=lease_s, owner=owner)


class UncommittedPublish:
    """A publish whose transaction has taken its offsets and is still open."""

    def __init__(self, publisher: PostgresPublisher, batch: Sequence[Message]) -> None:
        self._connection = publisher._session.open()
        self._connection.execute("begin")
        publisher.publish(batch)

    def finish(self) -> None:
        self._connection.execute("commit")


class PostgresHarness:
    def __init__(self, dsn: str, wakeup_folder: Path | None, lease_s: float = 2.0) -> None:
        self.lease_s = lease_s
        self._dsn = dsn
        self._wakeup_folder = wakeup_folder
        self._proxy = TcpProxy(int(conninfo_to_dict(dsn)["port"] or 5432))
        self.bus = make_bus(make_conninfo(dsn, port=self._proxy.port), wakeup_folder, lease_s, dsn)
        self._publishers: list[PostgresPublisher] = []
        self._consumers: list[PostgresConsumer] = []
        self._members: list[MemberProcess] = []

    def topic(self, partitions: int = 4) -> str:
        name = f"topic.{uuid.uuid4().hex[:8]}"
        self.bus.create_topics([name], partitions)
        return name

    def group(self) -> str:
        return f"group-{uuid.uuid4().hex[:8]}"

    def publisher(self) -> PostgresPublisher:
        self._publishers.append(self.bus.publisher())
        return self._publishers[-1]

    def consumer(
        self, group: str, topics: Sequence[str], assignment: RebalanceListener | None = None
    ) -> PostgresConsumer:
        self._consumers.append(self.bus.consumer(group, topics, assignment))
        return self._consumers[-1]

    def member(self, group: str, topics: Sequence[str]) -> MemberProcess:
        member = MemberProcess(make_bus, (self._dsn, self._wakeup_folder, self.lease_s), group, topics)
        self._members.append(member)
        return member

    def until(self, step: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not step():
            assert time.monotonic() < deadline, "it never came true"

    def aside(self, call: Callable[[], T]) -> InThread[T]:
        return InThread(call)

    def grow(self, topic: str, partitions: int) -> None:
        self._as_owner("update topics set partitions = %s where topic = %s", partitions, topic)
        self._as_owner(
            "insert into partitions (topic, partition) select %s, generate_series(0, %s - 1)"
            " on conflict do nothing",
            topic,
            partitions,
        )

    def make_anew(self, topic: str, partitions: int) -> None:
        """What refers to the topic, the rights and the leases, stays: those are rows of other tables."""
        self._as_owner("delete from log where topic = %s", topic)
        self._as_owner("delete from partitions where topic = %s", topic)
        self._as_owner("update topics set id = default where topic = %s", topic)
        self.grow(topic, partitions)

    def _as_owner(self, statement: str, *values: object) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(statement.encode(), values)

    def begin_publish(self, batch: Sequence[Message]) -> UncommittedPublish:
        return UncommittedPublish(self.publisher(), batch)

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
            with suppress(BusUnavailable):  # the scenario may have closed it, or broken its connection
                consumer.close()
        for publisher in self._publishers:
            publisher.close()
        self.bus.close()
        self._proxy.shut()
