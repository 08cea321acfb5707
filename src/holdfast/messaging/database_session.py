"""Sessions with a service's database: opens and bounds them, and says whose fault an error is."""

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from holdfast.messaging.store import RowsUnavailable, StatementFailed, StoreUnavailable

Connection = psycopg.Connection[TupleRow]

TROUBLE = ("08", "25", "40", "53", "55", "57", "58", "XX")
"""SQLSTATE classes of failures that the database causes, never the message."""

OF_SOME_ROWS = ("55P03", "XX")
"""Failures of the rows that a transaction touches (locked, damaged); other rows may be fine."""

# Batches join a few hundred keys with tables of any size, by `key = any(...)` in every statement. Plans made
# while tables were empty must stay right when they are full: no sequential scan, no nested loop.
#
# A transaction that waits for its client belongs to a frozen or dead process, and blocks others. The wait for
# a lock is short, because a waiting writer delays all sagas whose messages it has.
SESSION = (
    "-c statement_timeout=30s -c lock_timeout=1s -c idle_in_transaction_session_timeout=5s"
    " -c client_connection_check_interval=5s -c plan_cache_mode=force_generic_plan"
    " -c enable_seqscan=off -c enable_nestloop=off -c jit=off"
    " -c default_transaction_isolation=read\\ committed -c timezone=UTC"
)
_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "target_session_attrs": "read-write",  # of several hosts the primary; never a standby
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def connect(dsn: str, options: str = "", **more: Any) -> Connection:
    """Open a session on a server that accepts writes; the DSN's options override our defaults."""
    given = conninfo_to_dict(dsn)
    ours = {name: value for name, value in _DEFAULTS.items() if name not in given}
    asked = f"{options} {given.get('options') or ''}".strip()
    return psycopg.connect(make_conninfo(dsn, **ours, options=asked), **more)


def check_dsn(dsn: str) -> None:
    """Raise ValueError if this is no connection string; its text repeats nothing that may be secret."""
    try:
        host = str(conninfo_to_dict(dsn).get("host") or "")
    except psycopg.Error:
        raise ValueError("it is no connection string of PostgreSQL") from None
    if "@" in host:
        raise ValueError("its password holds an @, which is written %40 there")


def check_typed_dsn(dsn: str) -> None:
    """Raise ValueError if this is no connection string or has a password: command lines are visible."""
    check_dsn(dsn)
    if "password" in conninfo_to_dict(dsn):
        raise ValueError("everybody sees a command line: have the password in a passfile=FILE")


def is_trouble(error: psycopg.Error) -> bool:
    """Tell whether the database caused the error, so that it says nothing about the statement's content."""
    if error.sqlstate is None:
        # libpq's own error for a server that went away in the middle of an answer has no class.
        in_mid_answer = type(error) is psycopg.DatabaseError
        return in_mid_answer or isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(TROUBLE)


def unavailable(error: psycopg.Error) -> StoreUnavailable:
    """Return what a failed transaction raises; a state of no trouble class may be a message's fault."""
    text = f"{error.sqlstate or 'connection'}: {error}"
    if not is_trouble(error):
        return StatementFailed(text)
    return (RowsUnavailable if (error.sqlstate or "").startswith(OF_SOME_ROWS) else StoreUnavailable)(text)


def breaks_session(error: psycopg.Error) -> bool:
    """Tell whether the server is gone or accepts no writes, so that no session there is usable any more."""
    return is_trouble(error) and (error.sqlstate or "08").startswith(("08", "57P", "25006"))
