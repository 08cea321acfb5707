"""`holdfast bus repartition`: adopts another number of partitions while the services are stopped."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.common import ExitCode, fail
from holdfast.cli.terminal import note

if TYPE_CHECKING:
    from holdfast.audit.sources import KafkaSource, PostgresSource, Sources

SHOWN_MAX = 3


def repartition(
    partitions: Annotated[int, typer.Option(min=1, max=1000, help="Of each topic, from now on.")],
    sources: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Databases and bus, as for an audit; roles that may write."),
    ],
) -> None:
    """Hold every service's database to another number of partitions. Repeat at will.

    It refuses while a service runs, a message is unread or an outbox holds a row. Kafka's topics must have
    their partitions already (kafka-topics.sh --alter); on PostgreSQL the bus's owner gives them here. Start
    the services afterwards with HOLDFAST_PARTITIONS set to the number.
    """
    from holdfast.audit.sources import InvalidSources, SourceUnavailable, of_file
    from holdfast.bus.port import BusUnavailable
    from holdfast.messaging.store import StoreUnavailable
    from holdfast.runtime.migrations import NotIdle

    try:
        changed = _repartition(of_file(sources), partitions)
    except InvalidSources as error:
        fail(ExitCode.USAGE, str(error))
    except NotIdle as error:
        fail(ExitCode.CONFLICT, str(error))
    except (SourceUnavailable, BusUnavailable, StoreUnavailable) as error:
        fail(ExitCode.UNAVAILABLE, str(error))
    note(f"{changed} databases were changed; all are held to {partitions} partitions")
    note(f"start the services with HOLDFAST_PARTITIONS={partitions}")


def _repartition(sources: "Sources", partitions: int) -> int:
    """Check everything, then change what is not changed yet; return how many databases were."""
    from holdfast.audit.sources import PostgresSource
    from holdfast.bus.postgres import schema as postgres_schema
    from holdfast.contracts.topics import all_topics
    from holdfast.runtime.migrations import NotIdle, adopt_partitions, read_agreed

    _check_bus(sources, partitions)
    agreed = {service: read_agreed(dsn) for service, dsn in sources.dsns().items()}
    rows = [f"{service} has {of.outbox_rows}" for service, of in agreed.items() if of and of.outbox_rows]
    if rows:
        raise NotIdle(f"outbox rows are unpublished: {', '.join(rows)} (let the services run on)")
    if isinstance(sources.bus, PostgresSource):
        postgres_schema.grow(sources.bus.dsn, all_topics(), partitions)
    todo = [service for service, of in agreed.items() if of and of.partitions != partitions]
    for service in todo:
        adopt_partitions(sources.dsns()[service], partitions)
    return len(todo)


def _check_bus(sources: "Sources", partitions: int) -> None:
    """Raise NotIdle if a topic does not fit, a service lives, or a message is unread."""
    from holdfast.audit.positions import open_bus
    from holdfast.audit.sources import PostgresSource
    from holdfast.runtime.migrations import NotIdle

    if isinstance(sources.bus, PostgresSource):
        living = _look_at_postgres(sources.bus, partitions)
    else:
        living = _look_at_kafka(sources.bus, partitions)
    if alive := [f"{group} has {count}" for group, count in living.items() if count]:
        raise NotIdle(f"services still run: {', '.join(alive)} members (stop them first)")
    with open_bus(sources) as fetch_positions:
        unread = [
            f"{at.group} has {at.end - at.committed} on {at.place.topic}/{at.place.partition}"
            for at in fetch_positions()
            if at.committed < at.end
        ]
    if unread:
        more = f" and {len(unread) - SHOWN_MAX} more" if len(unread) > SHOWN_MAX else ""
        raise NotIdle(f"messages are unread: {', '.join(unread[:SHOWN_MAX])}{more} (let the services run on)")


def _look_at_postgres(source: "PostgresSource", partitions: int) -> Mapping[str, int]:
    """Return how many living members each service's group has."""
    from holdfast.bus.postgres.bus import PostgresBus
    from holdfast.contracts.topics import SERVICES, all_topics
    from holdfast.runtime.migrations import NotIdle

    bus = PostgresBus(source.dsn)
    try:
        for topic, info in bus.describe_topics(all_topics()).items():
            if info.partitions > partitions:
                raise NotIdle(f"topic {topic} has {info.partitions} partitions, which cannot become fewer")
        return {group.name: group.members for group in bus.groups() if group.name in SERVICES}
    finally:
        bus.close()


def _look_at_kafka(source: "KafkaSource", partitions: int) -> Mapping[str, int]:
    """Return how many living members each service's group has."""
    from holdfast.bus.kafka.bus import KafkaBus
    from holdfast.bus.kafka.settings import KafkaSettings
    from holdfast.contracts.topics import SERVICES, all_topics
    from holdfast.runtime.migrations import NotIdle

    bus = KafkaBus(KafkaSettings(source.bootstrap, options=source.options))
    try:
        topics = bus.describe_topics(all_topics())
        for topic in all_topics():
            there = topics[topic].partitions if topic in topics else 0
            if there != partitions:
                raise NotIdle(
                    f"topic {topic} has {there} partitions, not {partitions} (first kafka-topics.sh --alter"
                    f" --topic {topic} --partitions {partitions})"
                )
        return bus.living_members(SERVICES)
    finally:
        bus.close()
