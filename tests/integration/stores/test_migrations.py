"""Migrations: each applied once, in order, under one lock, and never changed after."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from holdfast.messaging.store import StoreUnavailable
from holdfast.runtime import migrations
from holdfast.runtime.migrations import (
    LOCK_KEY,
    Migration,
    MigrationChanged,
    NotDurable,
    PartitionsChanged,
    agree_partitions,
    load_migrations,
    migrate,
    require_durable,
)

PACKAGES = ["holdfast.messaging", "holdfast.services.inventory_write"]


def never(_: float) -> None:
    raise AssertionError("nobody holds the lock")


def rows(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_a_fresh_database_gets_them_all_and_a_second_time_none(database: str) -> None:
    names = [migration.name for migration in load_migrations(PACKAGES)]
    assert names == sorted(names, key=lambda name: (name.startswith("holdfast.services"), name))
    assert migrate(database, PACKAGES, never) == names
    assert migrate(database, PACKAGES, never) == []
    assert rows(database, "select name from migration order by applied_at") == [(name,) for name in names]


def test_a_file_that_was_changed_after_it_was_applied_is_refused(database: str) -> None:
    migrate(database, PACKAGES, never)
    with psycopg.connect(database) as connection:
        connection.execute("update migration set checksum = 'other' where name like '%0001_stock%'")
    with pytest.raises(MigrationChanged, match=r"0001_stock\.sql was changed after it was applied"):
        migrate(database, PACKAGES, never)


def test_a_file_that_fails_leaves_nothing_of_itself_and_all_before_it(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [
        Migration("a", "create table first (id integer)", "1"),
        Migration("b", "create table second (id integer); create table second (id integer)", "2"),
    ]
    monkeypatch.setattr(migrations, "load_migrations", lambda _: broken)
    with pytest.raises(psycopg.errors.DuplicateTable):
        migrate(database, [], never)
    assert rows(database, "select name from migration") == [("a",)]
    assert rows(database, "select tablename from pg_tables where tablename in ('first', 'second')") == [
        ("first",)
    ]


def test_the_second_process_tries_until_the_first_is_done(database: str) -> None:
    pauses: list[float] = []
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                other.execute("select pg_advisory_unlock(%s)", (LOCK_KEY,))

        assert migrate(database, PACKAGES, pause)
    assert len(pauses) == 3


def test_a_lock_that_is_never_given_back_is_trouble(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "TRIES_MAX", 2)
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
        with pytest.raises(StoreUnavailable, match="migration lock"):
            migrate(database, PACKAGES, lambda _: None)


def test_a_database_that_is_away_is_trouble(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        migrate(f"host={tmp_path} dbname=nobody", PACKAGES, never)


def test_line_1_a_database_is_held_to_the_number_of_partitions_that_it_was_made_for(database: str) -> None:
    migrate(database, PACKAGES, never)
    for _ in range(2):
        agree_partitions(database, 12)
    with pytest.raises(PartitionsChanged, match=r"HOLDFAST_PARTITIONS is 4, but .* made for 12"):
        agree_partitions(database, 4)
    assert rows(database, "select partitions from partitioning") == [(12,)]


def test_a_server_that_is_away_is_trouble_for_the_number_of_partitions_too() -> None:
    with pytest.raises(StoreUnavailable):
        agree_partitions("postgresql://postgres@127.0.0.1:9/none?connect_timeout=2", 12)


def test_a_database_that_may_lose_commits_is_refused(database: str) -> None:
    require_durable(database)
    name = conninfo_to_dict(database)["dbname"]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"alter database {name} set synchronous_commit = off".encode())
    with pytest.raises(NotDurable, match="synchronous_commit of PostgreSQL is off"):
        require_durable(database)
