"""Copies the books into temporary tables of one session, so that one query can read all of them.

The tables end with the session.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg

from holdfast.audit.sessions import SQL, Books, Connection, Rows, connect
from holdfast.audit.sources import SourceUnavailable
from holdfast.contracts.steps import GATEWAY, ORCHESTRATOR, PARTICIPANTS, SERVICES, STEPS

COPIES = (
    ("saga", ORCHESTRATOR),
    ("saga_event", ORCHESTRATOR),
    *(("fence", participant) for participant in PARTICIPANTS),
    *((table, row.service) for row in STEPS for table in row.books),
    ("checkout", GATEWAY),
)
"""Each table with a service whose rows fill it; the statement `read_<table>` reads them."""


class Scratch:
    """The open session."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, statement: str) -> Rows:
        """Run one query over the copies."""
        return self._connection.execute(SQL[statement]).fetchall()

    def fill(self, books: Books, edges: Iterable[tuple[str, str]]) -> None:
        """Copy all books, as they are at this check's moments. Raises SourceUnavailable."""
        for table, service in COPIES:
            self._copy(books, service, table)
        for service in SERVICES:
            rows = books.rows(service, "read_pruned")
            self._write("pruned", ((service, *row) for row in rows))
        self._write("prov", (_known(row) for row in books.ledger_rows("read_ledger")))
        self._write("legal_edge", edges)
        self._write("saga_step", ((row.service, row.name, row.at_rest) for row in STEPS))
        self._connection.execute(SQL["fill_pruned_sagas"])
        self._connection.execute(SQL["analyze_scratch"])

    def _copy(self, books: Books, service: str, table: str) -> None:
        """Copy in PostgreSQL's binary format from one session to the other, without decoding."""
        with (
            books.reading(service) as source,
            source.cursor().copy(f"copy ({SQL[f'read_{table}']}) to stdout (format binary)") as out,
            self._connection.cursor().copy(f"copy {table} from stdin (format binary)") as into,
        ):
            for data in out:
                into.write(data)

    def _write(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with self._connection.cursor().copy(f"copy {table} from stdin") as into:
            for row in rows:
                into.write_row(row)


@contextmanager
def open_scratch(dsn: str) -> Iterator[Scratch]:
    """Open a session in this database and make its temporary tables. Raises SourceUnavailable."""
    try:
        connection = connect(dsn, "create_scratch")
    except psycopg.Error as error:
        raise SourceUnavailable(f"the scratch database: {str(error).strip()}") from error
    with connection:
        yield Scratch(connection)


def _known(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Split the metadata's saga id into a UUID (None if it is not one) and its text."""
    ref, idem_key, claimed, *rest = row
    return ref, idem_key, _uuid(claimed), claimed, *rest


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
