"""A small HTTP/1.1 client that keeps connections: a call costs a twelfth of the CPU of a general client.

It has no redirects, cookies, proxies or streaming.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

import httptools

CONNECTIONS_MAX = 1_000
ANSWER_BYTES_MAX = 64 * 1024 * 1024
IDLE_S_MAX = 30.0
"""Less than our servers keep an idle connection, so that they rarely close one that we are about to use."""


class ConnectionFailed(Exception):
    """No complete response came: whether the request had its effect is unknown."""


class RequestNotSent(ConnectionFailed):
    """There was no connection: the request was not sent, so it has no effect."""


class BadAddress(Exception):
    """The text is not an http address; the message quotes it."""


class Response(NamedTuple):
    """One response; `headers` has lower-case names, and of a repeated header the last value."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Decode the body. Raises ValueError."""
        return json.loads(self.body)


class HttpClient:
    """Sends requests to one origin; a connection carries one request at a time. One event loop only.

    At most `connections_max` requests run at once; others wait, and the wait counts towards their timeout.
    """

    def __init__(self, url: str, connections_max: int = CONNECTIONS_MAX) -> None:
        """Connect only at the first request. Raises BadAddress."""
        parts = _split(url)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/")
        self._host_header = parts.netloc.rpartition("@")[2]
        self._slots = asyncio.Semaphore(connections_max)
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 10.0,
    ) -> Response:
        """Send one request and return its complete response. Raises ConnectionFailed, also when time is up.

        If the request was not sent, the error is its subclass RequestNotSent.
        """
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"host: {self._host_header}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"content-length: {len(body)}", "", ""]
        failure: type[ConnectionFailed] = RequestNotSent
        try:
            async with asyncio.timeout(timeout_s), self._slots:
                connection = await self._connection()
                failure = ConnectionFailed
                return await connection.exchange("\r\n".join(lines).encode("latin-1") + body)
        except TimeoutError:
            raise failure(f"no answer in {timeout_s:g} s") from None
        except OSError as error:
            raise failure(str(error)) from error

    async def close(self) -> None:
        """Drop all connections and wait until they are gone."""
        leaving = [connection.closed for connection in self._open]
        for connection in self._open:
            connection.abort()
        if leaving:
            await asyncio.wait(leaving)

    async def _connection(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed.done() and loop.time() - connection.idle_since < IDLE_S_MAX:
                return connection
            connection.abort()
        _, connection = await loop.create_connection(
            lambda: _Connection(self._idle), self._host, self._port, ssl=self._tls
        )
        # Not before: if connecting is cancelled, uvloop calls connection_made but not connection_lost.
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        return connection


class _Connection(asyncio.Protocol):
    """One connection, one request at a time; it adds itself to `idle` after a complete response."""

    def __init__(self, idle: "list[_Connection]") -> None:
        self._idle = idle
        self._transport: asyncio.Transport | None = None
        self._response: asyncio.Future[Response] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._loop = asyncio.get_running_loop()
        self.idle_since = self._loop.time()
        self.closed: asyncio.Future[None] = self._loop.create_future()

    async def exchange(self, request: bytes) -> Response:
        if self._transport is None or self.closed.done():
            raise ConnectionFailed("connection closed")
        response: asyncio.Future[Response] = self._loop.create_future()
        self._response = response
        self._headers, self._body, self._size = {}, [], 0
        self._transport.write(request)
        try:
            return await response
        finally:
            if response.cancelled():
                self.abort()  # a late response must not be taken for that of the next request

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods, but not the base

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > ANSWER_BYTES_MAX:
            self._fail("an answer without end")
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not an HTTP answer: {error}")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"connection lost: {exc}" if exc else "connection closed before the answer was whole")
        self.closed.set_result(None)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._response is None or self._response.done():
            self.abort()  # a response without a request
            return
        self._response.set_result(
            Response(self._parser.get_status_code(), self._headers, b"".join(self._body))
        )
        if self._parser.should_keep_alive():
            self.idle_since = self._loop.time()
            self._idle.append(self)
        else:
            self.abort()

    def _fail(self, reason: str) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(ConnectionFailed(reason))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError as error:
        raise BadAddress(f"not an http address: {url} ({error})") from None
    if not sound:
        raise BadAddress(f"not an http address: {url}")
    return parts
