"""Connections that break, and leases under contention, on real PostgreSQL."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import TupleRow
from tests.open_bus import OpenBus

from holdfast.bus.port import BusUnavailable, Message, NotOwner, TopicPartition
from holdfast.bus.postgres.bus import PostgresBus
from holdfast.bus.postgres.consumer import PostgresConsumer

PLACE = TopicPartition("a", 0)


@pytest.fixture
def bus(database: str) -> Iterator[PostgresBus]:
    bus = OpenBus(database, lease_s=3600.0)
    bus.create_topics(["a"], 1)
    yield bus
    bus.close()


@pytest.fixture
def sql(database: str, bus: PostgresBus) -> Iterator[psycopg.Connection[TupleRow]]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def joined(bus: PostgresBus) -> PostgresConsumer:
    consumer = bus.consumer("g", ["a"])
    consumer.poll(1, 0.0)
    return consumer


def test_a_terminated_session_is_reported_once_and_replaced(
    bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    publisher, consumer = bus.publisher(), joined(bus)
    publisher.publish([Message("a", b"k", b"1")])
    sql.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    with pytest.raises(BusUnavailable):
        publisher.publish([Message("a", b"k", b"2")])
    with pytest.raises(BusUnavailable):
        consumer.poll(500, 0.0)
    publisher.publish([Message("a", b"k", b"2")])
    assert [r.value for r in consumer.poll(500, 0.0)] == [b"1", b"2"]
    consumer.commit({PLACE: 2})


def test_a_session_on_a_server_that_became_read_only_is_replaced(bus: PostgresBus) -> None:
    publisher = bus.publisher()
    publisher.publish([Message("a", b"k", b"1")])
    demoted = publisher._session.open()
    demoted.execute("set default_transaction_read_only = on")
    with pytest.raises(BusUnavailable, match="25006"):
        publisher.publish([Message("a", b"k", b"2")])
    publisher.publish([Message("a", b"k", b"2")])
    assert publisher._session.open() is not demoted


def test_a_standby_is_not_connected_to(
    bus: PostgresBus, database: str, sql: psycopg.Connection[TupleRow]
) -> None:
    name = sql.info.dbname
    sql.execute(f'alter database "{name}" set default_transaction_read_only = on')
    with pytest.raises(BusUnavailable, match="read-only"):
        bus.publisher().publish([Message("a", b"k", b"1")])
    sql.execute("set default_transaction_read_only = off")
    sql.execute(f'alter database "{name}" reset default_transaction_read_only')
    bus.publisher().publish([Message("a", b"k", b"1")])


def test_a_lease_that_nobody_took_over_is_kept_although_it_expired(
    bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    bus.publisher().publish([Message("a", b"k", b"1")])
    consumer = joined(bus)
    sql.execute("update leases set expires_at = now() - interval '1 day'")
    consumer.commit({PLACE: 1})
    assert consumer.committed(PLACE) == 1
    assert sql.execute("select epoch, expires_at > now() from leases").fetchone() == (1, True)


def test_a_commit_of_an_older_epoch_is_refused_even_to_the_same_owner(
    bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    bus.publisher().publish([Message("a", b"k", b"1")])
    consumer = joined(bus)
    sql.execute("update leases set epoch = epoch + 1")
    with pytest.raises(NotOwner):
        consumer.commit({PLACE: 1})
    assert sql.execute("select committed from leases").fetchone() == (0,)


def test_only_the_commit_of_offsets_does_not_wait_for_the_disk(
    bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    """A lost offset brings messages again; a lost message or lease would be lost."""
    joined(bus)

    def waits(call: bytes) -> str:
        with sql.transaction():
            sql.execute(call)
            row = sql.execute("show synchronous_commit").fetchone()
        assert row is not None
        return str(row[0])

    place = b"array['a'], array[0]"
    assert (
        waits(b"select commit_offsets('g', 'm', 9.0, %b, array[1]::int8[], array[9]::int8[])" % place)
        == "off"
    )
    assert waits(rb"select publish_batch(%b, array[1]::int8[], array['\x00']::bytea[], '{}')" % place) == "on"
    assert waits(b"select take_leases('g', 'm', 9.0, %b, array[1]::int8[])" % place) == "on"
    assert waits(b"select prune_log(0, 0, '{}', 0, 10)") == "on"


def test_taking_leases_never_waits_for_another_member(
    bus: PostgresBus, database: str, sql: psycopg.Connection[TupleRow]
) -> None:
    first = joined(bus)
    sql.execute("update leases set expires_at = now() - interval '1 day'")
    sql.execute("update members set expires_at = now() - interval '1 day'")
    with psycopg.connect(database) as other:
        other.execute("select from leases for update")
        second = bus.consumer("g", ["a"])
        second.poll(1, 0.0)  # would wait for the lock until its timeout
        assert second.assignment() == frozenset()
    second._membership.beat_now()
    second.poll(1, 0.0)
    assert second.assignment() == {PLACE}
    with pytest.raises(NotOwner):
        first.commit({PLACE: 0})


def test_who_died_before_the_clock_jumped_back_holds_nothing(
    bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    joined(bus)
    sql.execute("update leases set expires_at = expires_at + interval '1 day'")
    sql.execute("update members set expires_at = expires_at + interval '1 day'")
    other = joined(bus)
    assert other.assignment() == {PLACE}


def test_members_that_died_long_ago_are_forgotten(
    bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    joined(bus)
    sql.execute("insert into members values ('g', 'dead', '{a}', now() - interval '2 days')")
    bus.prune()
    rows = sql.execute("select count(*) filter (where member = 'dead'), count(*) from members").fetchone()
    assert rows == (0, 1)
