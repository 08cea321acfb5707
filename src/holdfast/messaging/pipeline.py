"""A session whose statements are prepared and sent together: writes wait for the next read or the commit.

A transaction of a few reads and any number of writes costs a round trip a read and one for the commit, which
carries the writes before it. libpq's pipeline mode: https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
"""

import re
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import count
from typing import Any, NamedTuple

import psycopg
from psycopg import pq
from psycopg.adapt import Buffer, PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.rows import TupleRow

from holdfast.messaging.database_session import Connection

COMMIT_MAX_S = 20.0
_WAITED_IN_VAIN = "SyncRepWaitForLSN"
"""The server's function that warns of a commit without a copy; the warning's text is translated."""

_PARAMETER = re.compile(r"%\((\w+)\)([sb])")
_FORMATS = {"s": PyFormat.AUTO, "b": PyFormat.BINARY}
_DONE = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.PIPELINE_SYNC)

TakeRows = Callable[[list[TupleRow]], None]
_Key = tuple[bytes, tuple[int, ...]]
"""A statement's text and its parameters' types: what is prepared under one name."""


class CommitUncertain(psycopg.OperationalError):
    """The commit may have happened or not, may still happen, or may be lost if the server is lost."""


class Query(NamedTuple):
    """A statement with numbered parameters, their names in that order, and the formats they are sent in."""

    text: bytes
    names: tuple[str, ...]
    formats: tuple[PyFormat, ...]


@cache
def query_of(statement: str) -> Query:
    """Read a statement whose parameters are written `%(name)s`, or `%(name)b` for the binary format."""
    formats: dict[str, PyFormat] = {}

    def numbered(match: re.Match[str]) -> str:
        formats.setdefault(match[1], _FORMATS[match[2]])
        return f"${list(formats).index(match[1]) + 1}"

    text = _PARAMETER.sub(numbered, statement).replace("%%", "%")
    return Query(text.encode(), tuple(formats), tuple(formats.values()))


class _Command(NamedTuple):
    """A statement that waits to be sent, with its packed parameters, and who takes its rows.

    It is prepared under `name`, or under a number.
    """

    query: Query
    name: bytes = b""
    types: tuple[int, ...] = ()
    parameters: Sequence[Buffer | None] = ()
    formats: Sequence[pq.Format] = ()
    take_rows: TakeRows | None = None

    @property
    def key(self) -> _Key:
        return self.query.text, self.types


def _plain(text: str) -> _Command:
    return _Command(query_of(text), text.encode())


_BEGIN, _ROLLBACK = _plain("begin"), _plain("rollback")

# No statement_timeout for the commit: if it waits for a synchronous standby, the timeout would not undo it,
# but let it count without a copy. If we stop waiting instead, it stays invisible until it has its copy.
_COMMIT = _plain("set local statement_timeout = 0"), _plain("commit")


class Pipeline:
    """One session. One thread at a time; after an error only `rolled_back` and `close` may be called.

    `round_trips` counts how often it waited for the server.
    """

    def __init__(self, connection: Connection) -> None:
        self.round_trips = 0
        self._connection = connection
        self._pgconn = connection.pgconn
        self._pgconn.enter_pipeline_mode()
        self._adapter = Transformer(connection)
        self._waiting: list[_Command] = []
        self._prepared: dict[_Key, bytes] = {}
        self._numbers = count(1)
        self._in_transaction = False
        self._warners: list[str | None] = []
        connection.add_notice_handler(self._note)

    @property
    def backend_pid(self) -> int:
        """Return the process number of the session's server process."""
        return self._pgconn.backend_pid

    def begin(self) -> None:
        """Begin a transaction with the next round trip."""
        self._waiting = [_BEGIN]

    def write(self, statement: str, values: Mapping[str, Any], take_rows: TakeRows | None = None) -> None:
        """Execute a statement with the next round trip, which raises its error or calls `take_rows`."""
        query = query_of(statement)
        parameters = self._adapter.dump_sequence([values[name] for name in query.names], query.formats)
        types, formats = self._adapter.types or (), self._adapter.formats or ()
        self._waiting.append(_Command(query, b"", types, parameters, formats, take_rows))

    def read(self, statement: str, values: Mapping[str, Any]) -> list[TupleRow]:
        """Execute a statement, after all that waits; return its rows."""
        self.write(statement, values)
        return self._rows(self._round_trip())

    def change(self, statement: str, values: Mapping[str, Any]) -> int:
        """Execute a statement, after all that waits; return how many rows it changed."""
        self.write(statement, values)
        return self._round_trip().command_tuples or 0

    def flush(self) -> None:
        """Execute what waits."""
        self._round_trip()

    def commit(self, timeout_s: float = COMMIT_MAX_S) -> None:
        """Execute what waits, and commit; raises CommitUncertain if it is not known to be durable."""
        if not self._in_transaction and self._waiting == [_BEGIN]:
            self._waiting = []  # nothing was asked of the server
            return
        self._waiting += _COMMIT
        self._round_trip(time.monotonic() + timeout_s)
        self._in_transaction = False
        if _WAITED_IN_VAIN in self._warners:
            raise CommitUncertain("the commit has no copy on a standby")

    def rolled_back(self) -> bool:
        """Roll back; False if the session is not usable any more."""
        self._waiting = [_ROLLBACK] if self._in_transaction else []
        try:
            if self._waiting:
                self._round_trip()
        except psycopg.Error:
            return False
        self._in_transaction = False
        return not self._connection.closed

    def close(self) -> None:
        """Close the session; the server rolls back what is open."""
        self._connection.close()

    def _round_trip(self, deadline: float = float("inf")) -> pq.abc.PGresult:
        """Send what waits; return the result of its last statement, or raise the first error."""
        self.round_trips += 1
        self._in_transaction = True
        self._warners.clear()
        commands, self._waiting = self._waiting, []
        sent = [answer for command in commands for answer in self._send(command)]
        self._pgconn.pipeline_sync()
        results = self._results(len(sent), deadline)
        if failed := _failed(results):
            for answer, result in zip(sent, results, strict=True):
                if isinstance(answer, tuple) and result.status not in _DONE:
                    del self._prepared[answer]
            raise self._error(failed)
        for answer, result in zip(sent, results, strict=True):
            if callable(answer):
                answer(self._rows(result))
        return results[-1]

    def _send(self, command: _Command) -> Iterator[_Key | TakeRows | None]:
        """Send a statement, and prepare it first if this session has not.

        Yields an item for each result that will come: what will be prepared, or who takes the rows.
        """
        name = self._prepared.get(command.key)
        if name is None:
            name = self._prepared[command.key] = command.name or b"s%d" % next(self._numbers)
            self._pgconn.send_prepare(name, *command.key)
            yield command.key
        self._pgconn.send_query_prepared(name, command.parameters, command.formats)
        yield command.take_rows

    def _results(self, expected: int, deadline: float) -> list[pq.abc.PGresult]:
        """Read this many results, and the answer to the synchronization behind them."""
        results: list[pq.abc.PGresult] = []
        while len(results) <= expected:
            try:
                self._await_answer(deadline)
            except psycopg.OperationalError:
                if failed := _failed(results):  # what the server said as it closed the connection
                    raise self._error(failed) from None
                raise
            result = self._pgconn.get_result()
            if result is not None:
                results.append(result)
            elif self._pgconn.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError("the server closed the connection")
        return results[:-1]

    def _await_answer(self, deadline: float) -> None:
        poll = select.poll()
        while (unsent := self._pgconn.flush()) or self._pgconn.is_busy():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise CommitUncertain("no answer to a commit in time")
            poll.register(self._pgconn.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
            poll.poll(None if deadline == float("inf") else left_s * 1000)
            self._pgconn.consume_input()

    def _rows(self, result: pq.abc.PGresult) -> list[TupleRow]:
        self._adapter.set_pgresult(result)
        return self._adapter.load_rows(0, result.ntuples, tuple)

    def _error(self, result: pq.abc.PGresult) -> psycopg.Error:
        return error_from_result(result, encoding=self._connection.info.encoding)

    def _note(self, warning: psycopg.errors.Diagnostic) -> None:
        self._warners.append(warning.source_function)  # read it now: psycopg frees it when this returns


def _failed(results: Sequence[pq.abc.PGresult]) -> pq.abc.PGresult | None:
    return next((result for result in results if result.status not in _DONE), None)
