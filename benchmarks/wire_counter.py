"""Counts what clients ask of a PostgreSQL server, exactly and at once, from between the two.

The server's own statistics come up to ten seconds late and know no round trip. A proxy on the loopback
address reads the protocol as it passes and changes nothing; it costs time: no latency is measured through it.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HOST = "127.0.0.1"
_UNTYPED_REQUESTS = (80877103, 80877104)  # SSLRequest, GSSENCRequest: answered by one byte
_CANCEL = 80877102
_SUCCESSES = frozenset(b"C12tTnI")
_CHUNK = 1 << 18


@dataclass
class WireCounts:
    """What has passed so far; every key begins with the role. A statement is named by its first line."""

    round_trips: Counter[str] = field(default_factory=Counter)
    commits: Counter[str] = field(default_factory=Counter)
    connections: Counter[str] = field(default_factory=Counter)
    statements: Counter[tuple[str, str]] = field(default_factory=Counter)
    databases: Counter[str] = field(default_factory=Counter)
    """Committed transactions by database, read-only ones too, as pg_stat_database counts them."""

    def copy(self) -> "WireCounts":
        return WireCounts(
            Counter(self.round_trips),
            Counter(self.commits),
            Counter(self.connections),
            Counter(self.statements),
            Counter(self.databases),
        )

    def since(self, before: "WireCounts") -> "WireCounts":
        """Return what came after `before`."""
        return WireCounts(
            self.round_trips - before.round_trips,
            self.commits - before.commits,
            self.connections - before.connections,
            self.statements - before.statements,
            self.databases - before.databases,
        )


class Session:
    """What one connection says, read from both of its streams; whether in a transaction, the server says."""

    def __init__(self, counts: WireCounts) -> None:
        self._counts = counts
        self._from_client = bytearray()
        self._from_server = bytearray()
        self._single_bytes_due = 0
        self._role = self._database = ""
        self._ready = self._asked = self._in_transaction = False
        self._succeeded = self._failed = self._committed = False
        self._prepared: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}

    def client_says(self, data: bytes) -> None:
        self._from_client += data
        while self._ready or not self._role:
            header = 5 if self._role else 4
            if len(self._from_client) < header:
                return
            length = int.from_bytes(self._from_client[header - 4 : header]) + header - 4
            if len(self._from_client) < length:
                return
            message = bytes(self._from_client[:length])
            del self._from_client[:length]
            if self._role:
                self._request(message[:1], message[5:])
            elif self._start(message):
                return

    def server_says(self, data: bytes) -> None:
        if self._asked:
            self._counts.round_trips[self._role] += 1
            self._asked = False
        self._from_server += data
        while self._single_bytes_due and self._from_server:
            assert self._from_server[:1] == b"N", "an encrypted session cannot be read"
            del self._from_server[:1]
            self._single_bytes_due -= 1
        while len(self._from_server) >= 5:
            length = int.from_bytes(self._from_server[1:5]) + 1
            if len(self._from_server) < length:
                return
            self._reply(self._from_server[0], bytes(self._from_server[5:length]))
            del self._from_server[:length]

    def _start(self, message: bytes) -> bool:
        """Read a message that has no type; tell whether nothing that we read will follow from here."""
        code = int.from_bytes(message[4:8])
        if code in _UNTYPED_REQUESTS:
            self._single_bytes_due += 1
            return False
        if code == _CANCEL:
            return True
        fields = message[8:].split(b"\0")
        given = dict(zip(fields[::2], fields[1::2], strict=False))
        self._role = given[b"user"].decode()
        self._database = given.get(b"database", given[b"user"]).decode()
        self._counts.connections[self._role] += 1
        return True

    def _request(self, kind: bytes, body: bytes) -> None:
        if kind == b"X":
            return
        self._asked = True
        if kind == b"Q":
            self._count(_first_line(body))
        elif kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._prepared[name] = _first_line(text)
        elif kind == b"B":
            portal, name, _ = body.split(b"\0", 2)
            self._portals[portal] = self._prepared.get(name, "?")
        elif kind == b"E":
            self._count(self._portals.get(body.split(b"\0", 1)[0], "?"))

    def _count(self, statement: str) -> None:
        self._counts.statements[self._role, statement] += 1

    def _reply(self, kind: int, body: bytes) -> None:
        if kind == ord("Z"):
            self._ready_for_query(body[:1])
        elif kind == ord("E"):
            self._failed = True
        elif kind in _SUCCESSES:
            self._succeeded = True
            self._committed |= kind == ord("C") and body.startswith(b"COMMIT")

    def _ready_for_query(self, status: bytes) -> None:
        if not self._ready:
            # What was read of the client's password stays unread.
            self._ready = True
            self._from_client.clear()
            self._commit()  # in a transaction of its own the server has looked up role and database
        elif status == b"I":
            implicit = not self._in_transaction and self._succeeded and not self._failed
            if implicit or self._committed:
                self._commit()
        self._in_transaction = status != b"I"
        self._succeeded = self._failed = self._committed = False

    def _commit(self) -> None:
        self._counts.commits[self._role] += 1
        self._counts.databases[self._database] += 1


def _first_line(text: bytes) -> str:
    return text.rstrip(b"\0").decode(errors="replace").strip().partition("\n")[0][:100]


class WireCounter:
    """The proxy: `dsn` leads a DSN through it, and `counts` says what has passed."""

    def __init__(self) -> None:
        self._counts = WireCounts()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire counter", daemon=True)
        self._server: asyncio.Server | None = None
        self._upstream = 0
        self._port = 0

    def __enter__(self) -> "WireCounter":
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def dsn(self, dsn: str) -> str:
        """Return the same DSN through this proxy; all DSNs must be of one server."""
        port = urlsplit(dsn).port
        assert port, f"no port in {dsn}"
        assert self._upstream in {0, port}, "one proxy counts one server"
        self._upstream = port
        return dsn.replace(f":{port}/", f":{self._port}/", 1)

    def counts(self) -> WireCounts:
        """Return what has passed up to now."""

        async def copy() -> WireCounts:
            return self._counts.copy()

        return asyncio.run_coroutine_threadsafe(copy(), self._loop).result(10)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, HOST, 0)

    async def _close(self) -> None:
        assert self._server
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(HOST, self._upstream)
        except OSError:
            writer.close()  # as the server itself would refuse it
            return
        session = Session(self._counts)
        ways = [
            asyncio.ensure_future(_pass_on(reader, upstream_writer, session.client_says)),
            asyncio.ensure_future(_pass_on(upstream_reader, writer, session.server_says)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()
            upstream_writer.close()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hear: Callable[[bytes], None]
) -> None:
    while data := await reader.read(_CHUNK):
        hear(data)
        writer.write(data)
        await writer.drain()
