"""The bus's tables, topics and access rules: the database's owner creates them, every process checks them.

It never waits for ever: it tries the lock until a deadline. Nothing here runs while messages flow.
"""

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import NamedTuple

import psycopg

from holdfast.bus.access import Access, AccessTable
from holdfast.bus.port import BusForbidden, BusUnavailable, PartitionsDiffer
from holdfast.bus.postgres.session import Connection, connect, refuses_us
from holdfast.bus.postgres.wire import sql_text

_TRY_EVERY_S = 0.05
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,63}")  # also the name of a channel, which has at most 63 bytes


class _Migration(NamedTuple):
    version: int
    name: str
    text: bytes

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text).hexdigest()


def create_topics(dsn: str, topics: Sequence[str], partitions: int, *, timeout_s: float) -> None:
    """Create missing tables and topics. Raises BusUnavailable; ValueError if a partition count differs.

    Only the database's owner can create them; for another role they must all exist.
    """
    _check_names(topics)
    with _opened(dsn, "create topics") as connection:
        if not _is_complete(connection, topics):
            with _locked(connection, time.monotonic() + timeout_s):
                _create(connection, topics, partitions)
        _check_counts(connection, topics, partitions)


def set_up(
    dsn: str, topics: Sequence[str], partitions: int, access: AccessTable, *, timeout_s: float = 60.0
) -> None:
    """As the database's owner, create what is missing, and admit these principals and no others.

    Their login roles must exist. Raises BusUnavailable; ValueError if a partition count differs.
    """
    _check_names(topics)
    with _opened(dsn, "set up the bus") as connection:
        with _locked(connection, time.monotonic() + timeout_s):
            _create(connection, topics, partitions)
            connection.execute(sql_text("delete_writers"))
            connection.execute(sql_text("insert_writers"), _columns(access.writers))
            connection.execute(sql_text("delete_readers"))
            connection.execute(sql_text("insert_readers"), _columns(access.readers))
            connection.execute(sql_text("admit_roles"), {"principals": list(access.principals)})
        _check_counts(connection, topics, partitions)


def grow(dsn: str, topics: Sequence[str], partitions: int) -> None:
    """As the database's owner, give these topics so many partitions. Raises BusUnavailable."""
    with _opened(dsn, "give topics more partitions") as connection, connection.transaction():
        connection.execute(sql_text("grow_topics"), {"topics": list(topics), "partitions": partitions})
        connection.execute(sql_text("create_partitions"), {"topics": list(topics)})


def _check_names(topics: Sequence[str]) -> None:
    for topic in topics:
        if not _TOPIC.fullmatch(topic):
            raise ValueError(f"a topic's name has 1 to 63 of the characters A-Z a-z 0-9 . _ -, not {topic!r}")


def _check_counts(connection: Connection, topics: Sequence[str], partitions: int) -> None:
    there = {topic: count for topic, count, _ in connection.execute(sql_text("list_topics")).fetchall()}
    if differing := {topic: there[topic] for topic in topics if there.get(topic, partitions) != partitions}:
        raise PartitionsDiffer(partitions, differing)


@contextmanager
def _opened(dsn: str, doing: str) -> Iterator[Connection]:
    try:
        with connect(dsn) as connection:
            yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        raise BusForbidden(
            f"{doing}: {str(error).strip()} (the bus is set up by its database's owner: holdfast bus setup)"
        ) from error
    except psycopg.Error as error:
        kind = BusForbidden if refuses_us(error) else BusUnavailable
        raise kind(f"{doing}: {error.sqlstate or 'connection'} {str(error).strip()}") from error


def _columns(access: Sequence[Access]) -> dict[str, list[str]]:
    return {
        "principals": [each.principal for each in access],
        "services": [each.service for each in access],
        "topics": [each.topic for each in access],
    }


def _is_complete(connection: Connection, topics: Sequence[str]) -> bool:
    if _missing(connection):
        return False
    there = {topic for topic, _, _ in connection.execute(sql_text("list_topics")).fetchall()}
    return there.issuperset(topics)


@contextmanager
def _locked(connection: Connection, deadline: float) -> Iterator[None]:
    """Hold the lock on the schema for one transaction. Raises BusUnavailable."""
    while True:
        with connection.transaction():
            if connection.execute(sql_text("lock_schema")).fetchone() == (True,):
                yield
                return
        if time.monotonic() > deadline:
            raise BusUnavailable("create topics: another process holds the lock on the bus's schema")
        time.sleep(_TRY_EVERY_S)


def _create(connection: Connection, topics: Sequence[str], partitions: int) -> None:
    _migrate(connection)
    connection.execute(sql_text("create_topics"), {"topics": list(topics), "partitions": partitions})
    connection.execute(sql_text("create_partitions"), {"topics": list(topics)})


def _migrate(connection: Connection) -> None:
    missing = _missing(connection)
    connection.execute(sql_text("create_versions"))
    connection.execute(sql_text("pin_search_path"))
    for migration in missing:
        connection.execute(migration.text)
        connection.execute(
            sql_text("add_version"),
            {"version": migration.version, "name": migration.name, "checksum": migration.checksum},
        )


def _missing(connection: Connection) -> list[_Migration]:
    """Return the migrations not yet applied. Raises ValueError if an applied one was changed since."""
    if connection.execute(sql_text("find_versions")).fetchone() == (False,):
        return list(_migrations())
    applied: dict[int, str] = dict(connection.execute(sql_text("list_versions")).fetchall())
    for migration in _migrations():
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise ValueError(f"the bus's migration {migration.name} was changed after it had been applied")
    return [migration for migration in _migrations() if migration.version not in applied]


@cache
def _migrations() -> tuple[_Migration, ...]:
    files = resources.files("holdfast.bus.postgres").joinpath("sql", "migrations").iterdir()
    found = [(file.name, file.read_bytes()) for file in files if file.name.endswith(".sql")]
    return tuple(_Migration(int(name[:4]), name, text) for name, text in sorted(found))
