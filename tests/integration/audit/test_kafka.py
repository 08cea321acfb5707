"""Lag on a real Kafka: read by an onlooker that joins no group."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions
from tests.books_harness import BooksHarness
from tests.eventually import eventually
from typer.testing import CliRunner, Result

from holdfast.audit import KafkaSource, Sources, SourceUnavailable, run_on
from holdfast.audit.positions import Position, open_bus
from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.port import Message, Record
from holdfast.cli.main import app
from holdfast.contracts.topics import INVENTORY, ORDER, ORDER_COMMANDS, READS, all_topics
from holdfast.local.kafka import LocalKafka
from holdfast.runtime.migrations import agree_partitions

PARTITIONS = 4


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    with LocalKafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka


@pytest.fixture
def sources(world: BooksHarness, kafka: LocalKafka) -> Sources:
    return msgspec.structs.replace(world.sources, bus=KafkaSource(kafka.bootstrap))


def test_lag_is_told_and_ends_with_the_commit(
    world: BooksHarness, sources: Sources, kafka: LocalKafka
) -> None:
    with pytest.raises(SourceUnavailable, match="there is no topic"):
        run_on(sources, 0)
    bus = KafkaBus(KafkaSettings(kafka.bootstrap))
    bus.create_topics(all_topics(), PARTITIONS)
    world.completed()
    assert run_on(sources, 30).exit_code == 0  # a topic that was just made is not there at once
    assert len(_positions(sources)) == PARTITIONS * sum(map(len, READS.values()))

    publisher = bus.publisher()
    publisher.publish([Message(ORDER_COMMANDS, b"key", b"1"), Message(ORDER_COMMANDS, b"key", b"2")])
    publisher.close()
    (lagging,) = _lagging(sources)
    assert (lagging.group, lagging.place.topic, lagging.committed, lagging.end) == (
        ORDER,
        ORDER_COMMANDS,
        0,
        2,
    )
    report = run_on(sources, 0)
    assert report.exit_code == 4
    assert report.quiet == [f"group order-create lags 2 behind on {ORDER_COMMANDS}/{lagging.place.partition}"]

    consumer = bus.consumer(ORDER, [ORDER_COMMANDS])
    records: list[Record] = []

    def both_came() -> bool:
        records.extend(consumer.poll(10, 0.1))
        return len(records) == 2

    eventually(both_came, "both messages are read")
    consumer.commit({records[0].place: records[0].offset + 1})
    (lagging,) = _lagging(sources)
    assert (lagging.committed, lagging.end) == (1, 2)
    consumer.commit({records[1].place: records[1].offset + 1})
    assert _lagging(sources) == []
    assert run_on(sources, 0).exit_code == 0
    consumer.close()
    bus.close()


def test_an_unreachable_kafka_is_named(world: BooksHarness) -> None:
    bus = KafkaSource("127.0.0.1:1", {"socket.timeout.ms": 1000})
    with pytest.raises(SourceUnavailable, match=r"Kafka at 127\.0\.0\.1:1"):
        run_on(msgspec.structs.replace(world.sources, bus=bus), 0)


def _lagging(sources: Sources) -> list[Position]:
    return [each for each in _positions(sources) if each.committed < each.end]


def _positions(sources: Sources) -> list[Position]:
    with open_bus(sources) as ask_bus:
        return ask_bus()


def test_kafka_s_new_number_of_partitions_is_adopted_once_the_topics_have_it(
    world: BooksHarness, sources: Sources, kafka: LocalKafka, tmp_path: Path
) -> None:
    bus = KafkaBus(KafkaSettings(kafka.bootstrap))
    bus.create_topics(all_topics(), PARTITIONS)
    for dsn in sources.dsns().values():
        agree_partitions(dsn, PARTITIONS)
    described = tmp_path / "sources.json"
    described.write_bytes(msgspec.json.encode(sources, enc_hook=str))
    arguments = ["bus", "repartition", "--partitions", "6", "--sources", str(described)]

    def typed() -> Result:
        return CliRunner().invoke(app, arguments)

    refused = typed()
    assert (refused.exit_code, "kafka-topics.sh --alter --topic" in " ".join(refused.stderr.split())) == (
        4,
        True,
    )
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.create_partitions([NewPartitions(topic, 6) for topic in all_topics()]).values():
        future.result()

    def grown() -> bool:
        return {info.partitions for info in bus.describe_topics(all_topics()).values()} == {6}

    eventually(grown, "they grew", 30)
    reader = bus.consumer(INVENTORY, READS[INVENTORY])
    eventually(lambda: not reader.poll(500, 0.1) and bool(reader.assignment()), "a service lives", 30)
    alive = typed()
    assert (alive.exit_code, "inventory-write has 1 members" in " ".join(alive.stderr.split())) == (4, True)
    reader.close()
    eventually(lambda: typed().exit_code == 0, "the number is adopted", 30)
    for dsn in sources.dsns().values():
        agree_partitions(dsn, 6)
    bus.close()
