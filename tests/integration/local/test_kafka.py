"""A Kafka of our own: it goes on where it stopped, loses no broker silently, and never outlives us."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource
from tests.eventually import eventually
from tests.integration.kafka.reading import read_all
from tests.integration.local.programs import all_gone, children
from tests.kafka import LIBS

from holdfast.bus.kafka.bus import KafkaBus
from holdfast.bus.kafka.publisher import KafkaPublisher
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.port import BusUnavailable, Message, TopicPartition
from holdfast.local.kafka import KafkaFailed, LocalKafka

PROJECT = Path(__file__).parents[3]


def bus_on(kafka: LocalKafka) -> KafkaBus:
    return KafkaBus(KafkaSettings(kafka.bootstrap))


def messages(count: int) -> list[Message]:
    return [Message("kept", b"k", str(i).encode()) for i in range(count)]


def test_a_second_start_finds_what_the_first_left(tmp_path: Path) -> None:
    with LocalKafka(tmp_path, libs=LIBS) as first:
        assert first.running
        bus_on(first).create_topics(["kept"], 3)
        bus_on(first).publisher().publish(messages(10))
        broker = first.pid()
        with pytest.raises(KafkaFailed, match="running on"):
            LocalKafka(tmp_path, libs=LIBS).start()
        first.pause()
    all_gone([broker])
    assert not first.running
    with LocalKafka(tmp_path, libs=LIBS) as second:
        assert bus_on(second).partition_count("kept") == 3
        three = KafkaBus(KafkaSettings(second.bootstrap, replication_factor=3))
        with pytest.raises(BusUnavailable, match="INVALID_REPLICATION_FACTOR"):
            three.create_topics(["late"], 1)  # rather none than one with fewer copies
        assert len(read_all(bus_on(second), "kept", 10)) == 10
        second.kill()
        assert not second.running


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(KafkaFailed, match=f"port {port} is taken"):
            LocalKafka(tmp_path, port=port, libs=LIBS).start()


def test_settings_that_kafka_refuses_are_named(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path, libs=LIBS, settings={"log.retention.ms": "nonsense"})
    with pytest.raises(KafkaFailed, match=r"ConfigException.*nonsense.*log\.retention\.ms"):
        kafka.start()


def test_four_brokers_are_not_offered(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not 4"):
        LocalKafka(tmp_path, 4)


def test_three_brokers_replicate_and_outlive_a_leader(tmp_path: Path) -> None:
    with LocalKafka(
        tmp_path, 3, libs=LIBS, heap_mb=256, settings={"broker.session.timeout.ms": "3000"}
    ) as kafka:
        bus = bus_on(kafka)
        bus.create_topics(["kept"], 1)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        described = admin.list_topics("kept", timeout=10).topics["kept"].partitions[0]
        assert len(described.replicas) == 3
        (config,) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, "kept")]).values()
        assert config.result()["min.insync.replicas"].value == "2"
        publisher = bus.publisher()
        publisher.publish(messages(100))
        kafka.kill(described.leader)
        assert not kafka.running
        publisher.publish(messages(200)[100:])
        values = {int(record.value or b"") for record in read_all(bus, "kept", 200)}
        assert values == set(range(200))
        eventually(lambda: ends(publisher, 200), "the new leader says where the partition ends")
        eventually(lambda: bus.broker_count() == 2, "the cluster knows that one is gone")
        bus.create_topics(["late"], 1)  # with a place kept for the one that is gone
        late = admin.list_topics("late", timeout=10).topics["late"].partitions[0]
        assert len(late.replicas) == 3
        kafka.restart(described.leader)
        assert kafka.running
        eventually(lambda: bus.broker_count() == 3, "the cluster is whole")


def test_make_kafka_says_where_it_is_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    with command(tmp_path) as program:
        assert program.stdout is not None
        address = program.stdout.readline().strip()
        assert KafkaBus(KafkaSettings(address)).broker_count() == 1
        (broker,) = brokers_of(program)
        program.send_signal(signal.SIGINT)
        assert program.wait(30) == 0
        all_gone([broker])


def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    with command(tmp_path) as program:
        assert program.stdout is not None
        program.stdout.readline()
        (broker,) = brokers_of(program)
        program.kill()
        program.wait(30)
        all_gone([broker])


def test_a_broker_that_ends_by_itself_ends_the_command(tmp_path: Path) -> None:
    with command(tmp_path) as program:
        assert program.stdout is not None
        program.stdout.readline()
        (broker,) = brokers_of(program)
        os.kill(broker, signal.SIGKILL)
        assert program.wait(30) == 1


def ends(publisher: KafkaPublisher, offset: int) -> bool:
    try:
        return publisher.end_offset(TopicPartition("kept", 0)) >= offset
    except BusUnavailable:
        return False


def command(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast.local.kafka", "--data", str(folder)],
        stdout=subprocess.PIPE,
        cwd=PROJECT,
        text=True,
    )


def brokers_of(program: subprocess.Popen[str]) -> list[int]:
    return children(program.pid)
