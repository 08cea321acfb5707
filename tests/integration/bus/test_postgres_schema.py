"""The bus's tables: made once by the first process, checked by all, and waited for with a bound."""

import threading

import psycopg
import pytest
from tests.open_bus import OpenBus

from holdfast.bus.port import BusUnavailable
from holdfast.bus.postgres import schema as postgres_schema
from holdfast.bus.postgres.bus import PostgresBus


def test_many_processes_create_the_same_topics_at_once(database: str) -> None:
    failures: list[Exception] = []

    def create() -> None:
        try:
            PostgresBus(database).create_topics(["a", "b"], 12)
        except Exception as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with psycopg.connect(database) as sql:
        assert sql.execute("select topic, count(*) from partitions group by 1 order by 1").fetchall() == [
            ("a", 12),
            ("b", 12),
        ]


def test_a_lock_that_is_never_let_go_is_not_awaited(database: str) -> None:
    with psycopg.connect(database) as other:
        other.execute("select pg_advisory_xact_lock(hashtext('holdfast.bus'))")
        with pytest.raises(BusUnavailable, match="lock"):
            postgres_schema.create_topics(database, ["a"], 4, timeout_s=0.2)
    postgres_schema.create_topics(database, ["a"], 4, timeout_s=0.2)


def test_topics_that_are_there_need_no_lock(database: str) -> None:
    bus = PostgresBus(database)
    bus.create_topics(["a"], 4)
    with psycopg.connect(database) as other:
        other.execute("select pg_advisory_xact_lock(hashtext('holdfast.bus'))")
        bus.create_topics(["a"], 4)
    bus.create_topics(["a", "b"], 4)
    assert bus.partition_count("b") == 4
    bus.close()


def test_a_migration_that_was_changed_afterwards_is_refused(database: str) -> None:
    bus = PostgresBus(database)
    bus.create_topics(["a"], 4)
    with psycopg.connect(database) as sql:
        sql.execute("update versions set checksum = 'another'")
    with pytest.raises(ValueError, match="0001_log"):
        bus.create_topics(["a"], 4)


@pytest.mark.parametrize("name", ["", "with space", "x" * 64, 'quote"', "umlaut-\u00e4"])
def test_a_name_that_not_every_bus_could_carry_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        PostgresBus("").create_topics([name], 4)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    bus = PostgresBus("postgresql://postgres@127.0.0.1:1/nothing")
    with pytest.raises(BusUnavailable):
        bus.create_topics(["a"], 4)
    with pytest.raises(BusUnavailable):
        bus.partition_count("a")
    with pytest.raises(BusUnavailable):
        bus.consumer("g", ["a"]).poll(1, 0.0)


def test_a_database_without_the_tables_is_unavailable_until_they_are_made(database: str) -> None:
    bus = OpenBus(database)
    consumer = bus.consumer("g", ["a"])
    with pytest.raises(BusUnavailable):
        consumer.poll(1, 0.0)
    bus.create_topics(["a"], 4)
    consumer.poll(1, 0.0)
    assert len(consumer.assignment()) == 4
    consumer.close()
    bus.close()
