"""One connection to the bus's database, opened at first use and anew after any trouble.

The only place of the bus that runs SQL; knows no topic and no group.
"""

from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from holdfast.bus.port import BusUnavailable

Connection = psycopg.Connection[tuple[Any, ...]]
Rows = list[tuple[Any, ...]]

_DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 5,
    "target_session_attrs": "read-write",  # a standby would take the connection and refuse every call
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


@cache
def statement(name: str) -> str:
    """Return the text of a statement of the room's sql folder."""
    return resources.files("holdfast.bus").joinpath("sql", f"{name}.sql").read_text()


def connect(dsn: str) -> Connection:
    """Open a connection with the bus's own settings. Raises psycopg.Error."""
    given = conninfo_to_dict(dsn)
    conninfo = make_conninfo(dsn, **{name: value for name, value in _DEFAULTS.items() if name not in given})
    connection = psycopg.connect(conninfo, autocommit=True)
    try:
        connection.execute(statement("set_session"))
    except BaseException:
        connection.close()
        raise
    return connection


class Session:
    """Runs one statement a transaction. One thread at a time.

    A connection that met an error is thrown away: its server may be no primary any more; the next call opens
    another. `on_open` is called with each.
    """

    def __init__(self, dsn: str) -> None:
        self.on_open: Callable[[Connection], None] | None = None
        self._dsn = dsn
        self._connection: Connection | None = None

    def run(self, name: str, **parameters: Any) -> Rows:
        """Run the statement of this name; it is committed when this returns. Raises BusUnavailable."""
        try:
            cursor = self._open().cursor(binary=True)
            cursor.execute(statement(name), parameters, prepare=True)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise self._unavailable(name, error) from error

    def descriptor(self) -> int:
        """Return the file descriptor of the open connection. Raises BusUnavailable."""
        try:
            return self._open().fileno()
        except psycopg.Error as error:
            raise self._unavailable("connect", error) from error

    def receive(self) -> None:
        """Hand what the server has sent between statements to the notify handlers. Raises BusUnavailable."""
        try:
            pgconn = self._open().pgconn
            pgconn.consume_input()
            while notify := pgconn.notifies():
                if pgconn.notify_handler is not None:
                    pgconn.notify_handler(notify)
        except psycopg.Error as error:
            raise self._unavailable("listen", error) from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> Connection:
        if self._connection is None:
            connection = connect(self._dsn)
            try:
                if self.on_open is not None:
                    self.on_open(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _unavailable(self, doing: str, error: psycopg.Error) -> BusUnavailable:
        self.close()
        return BusUnavailable(f"{doing}: {error.sqlstate or type(error).__name__} {str(error).strip()}")
