"""Applies numbered SQL files to a schema: each once, in order, under one lock. An applied file never changes.

The lock is tried in a loop, never waited for: a waiting session can deadlock with a concurrent index build.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import NamedTuple

import psycopg

from holdfast.bus.partitioner import partition_of
from holdfast.bus.postgres.session import refuses_us
from holdfast.messaging.database import statements
from holdfast.messaging.database_session import connect
from holdfast.messaging.store import StoreForbidden, StoreUnavailable

LOCK_KEY = 0x486F6C6466617374  # "Holdfast"
TRY_EVERY_S = 0.2
TRIES_MAX = 300

OURS = ("0A", "22", "23", "42")
"""SQLSTATE classes of a migration that is wrong or does not fit this server: waiting does not help."""

SQL = statements("holdfast.runtime")


class MigrationChanged(Exception):
    """A file that was applied before has different content now; the text names it."""


class PartitionsChanged(Exception):
    """This database was made for a different number of partitions; the text names both numbers."""


class NotDurable(Exception):
    """A commit would not survive a crash of this server; the text names the setting."""


class NotIdle(Exception):
    """The number of partitions cannot change now: something is on its way, or lives; the text says what."""


class Agreed(NamedTuple):
    """The number of partitions that a database is held to, and its unpublished outbox rows."""

    partitions: int
    outbox_rows: int


class Migration(NamedTuple):
    name: str
    text: str
    checksum: str


def load_migrations(packages: Sequence[str]) -> list[Migration]:
    """Read the migrations of these packages, package by package, in the order of their numbers."""
    found = []
    for package in packages:
        folder = files(package) / "sql" / "migrations"
        for entry in sorted(folder.iterdir(), key=lambda e: e.name):
            if entry.name.endswith(".sql"):
                text = entry.read_text("utf-8")
                checksum = hashlib.sha256(text.encode()).hexdigest()
                found.append(Migration(f"{package}/{entry.name}", text, checksum))
    return found


def migrate(dsn: str, packages: Sequence[str], pause: Callable[[float], object]) -> list[str]:
    """Apply the missing migrations and return their names; `pause` waits between tries for the lock.

    Raises StoreUnavailable (try again), MigrationChanged and psycopg.Error (never again).
    """
    migrations = load_migrations(packages)
    with _session(dsn) as connection:
        _lock(connection, pause)
        applied = _apply(connection, migrations)
        # The end of the session frees the lock too, but only some time after the client has closed it.
        connection.execute(SQL["release_lock"], {"key": LOCK_KEY})
        return applied


def agree_partitions(dsn: str, partitions: int) -> None:
    """Store the number of partitions at the first start, and refuse another number at later starts.

    Raises StoreUnavailable (try again) and PartitionsChanged (until the one or the other is changed).
    """
    with _session(dsn) as connection:
        row = connection.execute(SQL["agree_partitions"], {"partitions": partitions}).fetchone()
        assert row is not None
        if row[0] != partitions:
            raise PartitionsChanged(
                f"HOLDFAST_PARTITIONS is {partitions}, but this database was made for {row[0]}:"
                " see holdfast bus repartition"
            )


def read_agreed(dsn: str) -> Agreed | None:
    """Return what a database is held to, None if no service ever started on it. Raises StoreUnavailable."""
    try:
        with _session(dsn) as connection:
            row = connection.execute(SQL["select_agreed"]).fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return None if row is None else Agreed(*row)


def adopt_partitions(dsn: str, partitions: int) -> None:
    """Hold a database to another number, and give its timers to their new owners; all or nothing.

    Once all that was sent under the old number is read, which the caller sees to, no saga's messages lose
    their order by it. Raises NotIdle and StoreUnavailable.
    """
    with _session(dsn) as connection, connection.transaction():
        connection.execute(SQL["lock_agreed"])
        row = connection.execute(SQL["select_agreed"]).fetchone()
        if row is None or row[1]:
            raise NotIdle(f"{row[1] if row else 0} rows lie in its outbox")
        sagas = [saga_id for (saga_id,) in connection.execute(SQL["select_timed_sagas"])]
        owners = [partition_of(saga_id.encode(), partitions) for saga_id in sagas]
        connection.execute(SQL["move_timers"], {"saga_ids": sagas, "partitions": owners})
        connection.execute(SQL["update_agreed"], {"partitions": partitions})


def require_durable(dsn: str) -> None:
    """Refuse a server, database or role that may lose commits. Raises StoreUnavailable and NotDurable."""
    with _session(dsn) as connection:
        names = [row[0] for row in connection.execute(SQL["select_not_durable"]).fetchall()]
    if names:
        raise NotDurable(f"{' and '.join(names)} of PostgreSQL is off: what was committed could be lost")


@contextmanager
def _session(dsn: str) -> Iterator[psycopg.Connection]:
    try:
        with connect(dsn, autocommit=True) as connection:
            yield connection
    except psycopg.Error as error:
        text = f"{error.sqlstate or 'connection'}: {error}"
        if refuses_us(error):
            raise StoreForbidden(text) from error
        if (error.sqlstate or "").startswith(OURS):
            raise
        raise StoreUnavailable(text) from error


def _lock(connection: psycopg.Connection, pause: Callable[[float], object]) -> None:
    for _ in range(TRIES_MAX):
        row = connection.execute(SQL["try_lock"], {"key": LOCK_KEY}).fetchone()
        if row and row[0]:
            return
        pause(TRY_EVERY_S)
    raise StoreUnavailable("another process has held the migration lock for a minute")


def _apply(connection: psycopg.Connection, migrations: Sequence[Migration]) -> list[str]:
    connection.execute(SQL["set_lock_timeout"])
    connection.execute(SQL["create_migration"])
    done: dict[str, str] = dict(connection.execute(SQL["select_migrations"]).fetchall())
    applied = []
    for migration in migrations:
        if migration.name in done:
            if done[migration.name] != migration.checksum:
                raise MigrationChanged(f"{migration.name} was changed after it was applied")
            continue
        with connection.transaction():
            connection.execute(migration.text.encode())
            connection.execute(
                SQL["insert_migration"], {"name": migration.name, "checksum": migration.checksum}
            )
        applied.append(migration.name)
    return applied
