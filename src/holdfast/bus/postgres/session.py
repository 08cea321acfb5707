"""One connection to the bus's database, opened at first use and again after any error.

Every statement of the running bus goes through it; it knows no topic and no group.
"""

import re
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from holdfast.bus.port import BusForbidden, BusUnavailable
from holdfast.bus.postgres.wire import sql_text, statement

_REFUSED = re.compile(
    "authentication failed|no password supplied|does not exist|no pg_hba.conf entry|not permitted to log in"
    "|permission denied"
)
"""How an English server words it: libpq tells no SQLSTATE of a connection that failed."""

Connection = psycopg.Connection[tuple[Any, ...]]
Rows = list[tuple[Any, ...]]

_WAITED_IN_VAIN = "SyncRepWaitForLSN"
"""The server's function that warns of a commit without a copy; the warning's text is translated."""

_DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 5,
    "target_session_attrs": "read-write",  # a standby would take the connection and refuse every call
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def connect(dsn: str) -> Connection:
    """Open a connection with the bus's own settings. Raises psycopg.Error."""
    given = conninfo_to_dict(dsn)
    conninfo = make_conninfo(dsn, **{name: value for name, value in _DEFAULTS.items() if name not in given})
    connection = psycopg.connect(conninfo, autocommit=True)
    try:
        connection.execute(sql_text("set_session"))
    except BaseException:
        connection.close()
        raise
    return connection


def refuses_us(error: psycopg.Error) -> bool:
    """Tell whether the server refuses our name, password or rights, so that only a person can mend it.

    A server that words its refusals in another language is only unavailable.
    """
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError) and bool(_REFUSED.search(str(error)))
    return error.sqlstate.startswith(("28", "3D000", "42501"))


class Session:
    """Runs one statement per transaction. One thread at a time.

    After an error it closes the connection, whose server may not be the primary any more; the next call opens
    another. `on_open` is called with each new connection.
    """

    def __init__(self, dsn: str) -> None:
        self.on_open: Callable[[Connection], None] | None = None
        self._dsn = dsn
        self._connection: Connection | None = None
        self._prepared: set[str] = set()
        self._warned = False

    def run(self, name: str, **values: Any) -> Rows:
        """Run the statement of this name; it is committed when this returns. Raises BusUnavailable."""
        try:
            connection = self._connection or self.open()
            if name not in self._prepared:
                self._prepare(connection, name)
            query = statement(name)
            parameters = query.encode(values)
            result = connection.pgconn.exec_prepared(
                query.name, parameters, [pq.Format.BINARY] * len(parameters), pq.Format.BINARY
            )
            return self._rows(connection, result)
        except psycopg.Error as error:
            raise self._unavailable(name, error) from error

    def descriptor(self) -> int:
        """Return the file descriptor of the open connection. Raises BusUnavailable."""
        try:
            return self.open().fileno()
        except psycopg.Error as error:
            raise self._unavailable("connect", error) from error

    def notifications(self) -> list[bytes]:
        """Return the payloads that came since the last call, without waiting. Raises BusUnavailable."""
        payloads = []
        try:
            pgconn = self.open().pgconn
            pgconn.consume_input()
            while notification := pgconn.notifies():
                payloads.append(notification.extra)
        except psycopg.Error as error:
            raise self._unavailable("listen", error) from error
        return payloads

    def open(self) -> Connection:
        """Return the connection. Raises psycopg.Error, unlike the other methods."""
        if self._connection is None:
            connection = connect(self._dsn)
            try:
                if self.on_open is not None:
                    self.on_open(connection)
            except BaseException:
                connection.close()
                raise
            connection.add_notice_handler(self._notice)
            self._connection, self._prepared, self._warned = connection, set(), False
        return self._connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _rows(self, connection: Connection, result: pq.abc.PGresult) -> Rows:
        rows = _rows(connection, result)
        if self._warned:
            raise psycopg.OperationalError("the commit has no copy on a standby")
        return rows

    def _notice(self, warning: psycopg.errors.Diagnostic) -> None:
        """Note that a person or a time limit ended the wait for a synchronous standby."""
        self._warned |= warning.source_function == _WAITED_IN_VAIN

    def _prepare(self, connection: Connection, name: str) -> None:
        query = statement(name)
        _check(connection, connection.pgconn.prepare(query.name, query.text, query.types))
        self._prepared.add(name)

    def _unavailable(self, doing: str, error: psycopg.Error) -> BusUnavailable:
        self.close()
        kind = BusForbidden if refuses_us(error) else BusUnavailable
        return kind(f"{doing}: {error.sqlstate or type(error).__name__} {str(error).strip()}")


def _rows(connection: Connection, result: pq.abc.PGresult) -> Rows:
    _check(connection, result)
    if result.status != pq.ExecStatus.TUPLES_OK:
        return []
    transformer = Transformer(connection)
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, tuple)


def _check(connection: Connection, result: pq.abc.PGresult) -> None:
    """Raise the psycopg.Error that a result stands for."""
    if result.status not in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}:
        raise psycopg.errors.error_from_result(result, encoding=connection.info.encoding)
