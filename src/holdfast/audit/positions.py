"""How far each group has read: read from the bus without joining it.

What a lag means is for `quiet` to say.
"""

from typing import NamedTuple

import psycopg

from holdfast.audit.sessions import SQL, connect
from holdfast.audit.sources import KafkaSource, Sources, SourceUnavailable
from holdfast.bus.port import BusUnavailable, MessageRefused, TopicPartition
from holdfast.contracts.topics import READS

KAFKA_TIMEOUT_S = 5.0


class Position(NamedTuple):
    """A group on one partition: all before `committed` is consumed, the next message will be `end`."""

    group: str
    place: TopicPartition
    committed: int
    end: int


def positions(sources: Sources) -> list[Position]:
    """Return the position of every service on everything that it reads. Raises SourceUnavailable."""
    if isinstance(sources.bus, KafkaSource):
        return _on_kafka(sources.bus)
    readers = [(group, topic) for group, topics in READS.items() for topic in topics]
    try:
        with connect(sources.bus.dsn) as connection:
            rows = connection.execute(
                SQL["find_bus_positions"],
                {"groups": [group for group, _ in readers], "topics": [topic for _, topic in readers]},
            ).fetchall()
    except psycopg.Error as error:
        raise SourceUnavailable(f"the bus's database: {str(error).strip()}") from error
    return [Position(row[0], TopicPartition(row[1], row[2]), row[3], row[4]) for row in rows]


def _on_kafka(source: KafkaSource) -> list[Position]:
    # These load librdkafka, which only Kafka's users need.
    from holdfast.bus.kafka_positions import group_positions
    from holdfast.bus.kafka_settings import KafkaSettings

    try:
        settings = KafkaSettings(source.bootstrap, lookup_timeout_s=KAFKA_TIMEOUT_S, options=source.options)
        found = group_positions(settings, READS)
    except (BusUnavailable, MessageRefused) as error:
        raise SourceUnavailable(f"Kafka at {source.bootstrap}: {error}") from error
    return [Position(*each) for each in found]
