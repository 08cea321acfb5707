"""Reads from the bus how far each group has read, without joining the group.

`quiescence` decides what a lag means.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from holdfast.audit.sessions import SQL, connect
from holdfast.audit.sources import KafkaSource, PostgresSource, Sources, SourceUnavailable
from holdfast.bus.port import BusUnavailable, MessageRefused, TopicPartition
from holdfast.contracts.topics import READS

if TYPE_CHECKING:
    from holdfast.bus.kafka.positions import OffsetReader

KAFKA_TIMEOUT_S = 5.0


class Position(NamedTuple):
    """A group on one partition: all before `committed` is consumed; the next message gets offset `end`."""

    group: str
    place: TopicPartition
    committed: int
    end: int


FetchPositions = Callable[[], list[Position]]
"""Returns the position of every service on everything that it reads. Raises SourceUnavailable."""


@contextmanager
def open_bus(sources: Sources) -> Iterator[FetchPositions]:
    """Open the bus and yield a function that reads the positions at each call; connects on first use."""
    if isinstance(sources.bus, PostgresSource):
        yield partial(_on_postgres, sources.bus)
        return
    # These imports load librdkafka, which only an audit of Kafka needs.
    from holdfast.bus.kafka.positions import OffsetReader
    from holdfast.bus.kafka.settings import KafkaSettings

    source = sources.bus
    settings = KafkaSettings(source.bootstrap, lookup_timeout_s=KAFKA_TIMEOUT_S, options=source.options)
    with OffsetReader(settings, READS) as offset_reader:
        yield partial(_on_kafka, source, offset_reader)


def _on_postgres(source: PostgresSource) -> list[Position]:
    readers = [(group, topic) for group, topics in READS.items() for topic in topics]
    names = {"groups": [group for group, _ in readers], "topics": [topic for _, topic in readers]}
    try:
        with connect(source.dsn) as connection:
            rows = connection.execute(SQL["find_bus_positions"], names).fetchall()
    except psycopg.Error as error:
        raise SourceUnavailable(f"the bus's database: {str(error).strip()}") from error
    return [Position(row[0], TopicPartition(row[1], row[2]), row[3], row[4]) for row in rows]


def _on_kafka(source: KafkaSource, offset_reader: "OffsetReader") -> list[Position]:
    try:
        return [Position(*each) for each in offset_reader.positions()]
    except (BusUnavailable, MessageRefused) as error:
        raise SourceUnavailable(f"Kafka at {source.bootstrap}: {error}") from error
