"""The bare limits: PostgreSQL with the rows of our sagas alone, Kafka with their messages alone.

Both take what a load has just left behind on the platform, so that they follow every change of a table or a
message, and write it again with nothing else around it.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any

import psycopg
from benchmarks.holdfast_platform import Measured
from benchmarks.load import Run
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from psycopg import sql

from holdfast.contracts.topics import PARTITIONS, SERVICES, TOPICS
from holdfast.local.process_table import BUS_DATABASE, database

BATCH = 500

_TABLES = """
    select relname from pg_class
    where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1
"""
_COLUMNS = """
    select attname from pg_attribute
    where attrelid = %s::regclass and attnum > 0 and not attisdropped and attgenerated = '' order by attnum
"""


class BareDatabase:
    """One database's rows of finished sagas, to be inserted once more into empty tables of the same shape."""

    def __init__(self, dsn: str, batches: int) -> None:
        self._session = psycopg.connect(dsn)
        self._batches = batches
        self._tables: list[str] = []
        self.rows = 0
        self.seconds = 0.0

    def prepare(self, sagas: int) -> None:
        """Copy the rows of each table that a saga adds to, in so many equal parts."""
        self._session.execute("create schema bare")
        for name in self._grown(sagas):
            source, target = sql.Identifier("public", name), sql.Identifier("bare", name)
            kept = sql.Identifier(f"kept_{name}")
            self._run("create temp table {} as select *, ntile({}) over (order by ctid) as part from {}",
                      kept, sql.Literal(self._batches), source)  # fmt: skip
            self._run("create index on {} (part)", kept)
            self._run("create table {} (like {} including all excluding identity)", target, source)
            found = self._run("select count(*) from {}", kept).fetchone()
            assert found
            self.rows += found[0]
            self._tables.append(name)
        self._session.commit()
        self._session.execute("analyze")
        self._session.commit()

    def insert(self) -> None:
        """Insert all rows, each batch in one transaction."""
        statements = [self._insert(name) for name in self._tables]
        began = time.perf_counter()
        for part in range(1, self._batches + 1):
            for statement in statements:
                self._session.execute(statement, [part])
            self._session.commit()
        self.seconds = time.perf_counter() - began

    def close(self) -> None:
        self._session.rollback()
        self._session.execute("drop schema bare cascade")
        self._session.commit()
        self._session.close()

    def _grown(self, sagas: int) -> list[str]:
        """Return the tables that keep rows of sagas: at least one a batch, and not the catalogue's."""
        names = [name for (name,) in self._session.execute(_TABLES).fetchall()]
        counts = {}
        for name in names:
            found = self._run("select count(*) from {}", sql.Identifier("public", name)).fetchone()
            counts[name] = found[0] if found else 0
        return [
            name for name, count in counts.items() if count >= sagas / BATCH and name not in _NOT_OF_SAGAS
        ]

    def _insert(self, name: str) -> sql.Composed:
        found = self._session.execute(_COLUMNS, [f"bare.{name}"]).fetchall()
        columns = sql.SQL(", ").join(sql.Identifier(column) for (column,) in found)
        return sql.SQL("insert into {} ({}) select {} from {} where part = %s").format(
            sql.Identifier("bare", name), columns, columns, sql.Identifier(f"kept_{name}")
        )

    def _run(self, text: str, *parts: sql.Composable) -> psycopg.Cursor[Any]:
        return self._session.execute(sql.SQL(text).format(*parts))


_NOT_OF_SAGAS = frozenset({"product", "stock", "cart"})
"""Written before the load: a saga changes rows of the last two, and adds none."""


def bare_postgres(measured: Measured, sagas: int) -> Run:
    """Insert the rows of so many finished sagas again, all databases at once; return sagas and seconds."""
    names = [*(database(service) for service in SERVICES), BUS_DATABASE]
    server = measured.platform.postgres
    bare = [BareDatabase(server.dsn(name), max(1, sagas // BATCH)) for name in names]
    try:
        for each in bare:
            each.prepare(sagas)
        began = time.perf_counter()
        _side_by_side([each.insert for each in bare])
        return Run(latencies_ms=[0.0] * sagas).ended(time.perf_counter() - began)
    finally:
        for each in bare:
            each.close()


def bare_kafka(measured: Measured, sagas: int) -> Run:
    """Produce the messages of so many finished sagas to topics of their own and consume them meanwhile."""
    assert measured.bootstrap
    messages = _read_all(measured.bootstrap, list(TOPICS))
    topics = sorted({f"bare.{topic}" for topic, _, _, _ in messages})
    admin = AdminClient({"bootstrap.servers": measured.bootstrap})
    for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics]).values():
        made.result(30)
    began = time.perf_counter()
    _side_by_side(
        [
            lambda: _produce(str(measured.bootstrap), messages),
            lambda: _consume(str(measured.bootstrap), topics, len(messages)),
        ]
    )
    return Run(latencies_ms=[0.0] * sagas).ended(time.perf_counter() - began)


_Message = tuple[str, bytes | None, bytes | None, Any]


def _read_all(bootstrap: str, topics: Sequence[str]) -> list[_Message]:
    """Return all messages of these topics, in the order of their partitions."""
    consumer = _consumer(bootstrap)
    places = [TopicPartition(topic, n, 0) for topic in topics for n in range(PARTITIONS)]
    ends = {(p.topic, p.partition): consumer.get_watermark_offsets(p, timeout=30)[1] for p in places}
    consumer.assign(places)
    messages: list[_Message] = []
    while len(messages) < sum(ends.values()):
        for message in consumer.consume(5_000, timeout=10):
            assert message.error() is None, message.error()
            messages.append((message.topic() or "", message.key(), message.value(), message.headers()))
    consumer.close()
    return messages


def _produce(bootstrap: str, messages: Sequence[_Message]) -> None:
    producer = Producer(
        {"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5}
    )
    for topic, key, value, headers in messages:
        while True:
            try:
                producer.produce(f"bare.{topic}", value, key, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0


def _consume(bootstrap: str, topics: Sequence[str], count: int) -> None:
    consumer = _consumer(bootstrap)
    consumer.assign([TopicPartition(topic, n, 0) for topic in topics for n in range(PARTITIONS)])
    seen = 0
    while seen < count:
        seen += len(consumer.consume(BATCH, timeout=10))
    consumer.close()


def _consumer(bootstrap: str) -> Consumer:
    return Consumer({"bootstrap.servers": bootstrap, "group.id": "bare", "auto.offset.reset": "earliest"})


def _side_by_side(works: Sequence[Any]) -> None:
    """Run all at once; raise what one of them raised."""
    failed: list[BaseException] = []

    def run(work: Any) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
