"""One read-only REPEATABLE READ session per database, and one read transaction on the provider's ledger.

All that one check reads from one database is of one moment; `refresh` begins the next check.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from holdfast.audit.sources import Sources, SourceUnavailable
from holdfast.messaging.database import statements

Connection = psycopg.Connection[tuple[Any, ...]]
Rows = list[tuple[Any, ...]]

SQL = statements("holdfast.audit")

_DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 5,
    "application_name": "holdfast-audit",
    "target_session_attrs": "read-write",  # a standby may lag, so its books prove nothing
}


def connect(dsn: str, *setup: str) -> Connection:
    """Open a session with the audit's own settings, and run the statements `setup`. Raises psycopg.Error."""
    given = conninfo_to_dict(dsn)
    conninfo = make_conninfo(dsn, **{name: value for name, value in _DEFAULTS.items() if name not in given})
    connection = psycopg.connect(conninfo, autocommit=True)
    try:
        for statement in ("set_session", *setup):
            connection.execute(SQL[statement])
    except BaseException:
        connection.close()
        raise
    return connection


class Books:
    """The databases by their service's name, and the ledger. Opens each on first use; a context manager."""

    def __init__(self, sources: Sources) -> None:
        self._dsns: Mapping[str, str] = sources.dsns()
        self._ledger_path = sources.ledger.absolute()
        self._connections: dict[str, Connection] = {}
        self._ledger: sqlite3.Connection | None = None

    def rows(self, service: str, statement: str, **values: Any) -> Rows:
        """Read from a service's database as it was at this check's first read. Raises SourceUnavailable."""
        with self.reading(service) as connection:
            return connection.execute(SQL[statement], values or None).fetchall()

    @contextmanager
    def reading(self, service: str) -> Iterator[Connection]:
        """Yield a service's session; its psycopg errors become SourceUnavailable."""
        try:
            yield self._connection(service)
        except psycopg.Error as error:
            self._drop(service)
            raise SourceUnavailable(f"{service}'s database: {str(error).strip()}") from error

    def ledger_rows(self, statement: str) -> Rows:
        """Read from the provider's ledger as it was at this check's first read. Raises SourceUnavailable."""
        try:
            if self._ledger is None:
                self._ledger = sqlite3.connect(
                    f"{self._ledger_path.as_uri()}?mode=ro", uri=True, isolation_level=None
                )
            if not self._ledger.in_transaction:
                self._ledger.execute("begin")
            return self._ledger.execute(SQL[statement]).fetchall()
        except sqlite3.Error as error:
            self._drop_ledger()
            raise SourceUnavailable(f"the provider's ledger {self._ledger_path}: {error}") from error

    def refresh(self) -> None:
        """End the current transactions; the next read of each book begins a new one, at a new moment."""
        for service, connection in list(self._connections.items()):
            try:
                connection.rollback()
            except psycopg.Error:  # the connection is lost: the next read opens another session
                self._drop(service)
        if self._ledger is not None and self._ledger.in_transaction:
            self._ledger.execute("rollback")

    def close(self) -> None:
        for service in list(self._connections):
            self._drop(service)
        self._drop_ledger()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connection(self, service: str) -> Connection:
        if service not in self._connections:
            connection = connect(self._dsns[service])
            connection.autocommit = False
            connection.read_only = True
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            self._connections[service] = connection
        return self._connections[service]

    def _drop(self, service: str) -> None:
        connection = self._connections.pop(service, None)
        if connection is not None:
            connection.close()

    def _drop_ledger(self) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger.close()
