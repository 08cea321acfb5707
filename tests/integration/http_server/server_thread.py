"""A guarded server on a real socket, in a thread, with an application that can be told to hold its answer."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import uvicorn
import uvloop
from tests.eventually import eventually

from holdfast.http_server.config import GuardedConfig
from holdfast.http_server.guarded_protocol import GuardedProtocol
from holdfast.http_server.limits import Limits

BIG = 8 * 1024 * 1024
# Small, so that a test fills them; patient, so that none passes by mere time.
LIMITS = Limits(
    connections_max=20,
    connections_per_client_max=5,
    proxies=(),
    target_bytes_max=1_000,
    head_bytes_max=8_000,
    header_bytes_max=4_000,
    headers_max=30,
    body_bytes_max=50_000,
    framing_bytes_max=4_000,
    first_byte_s=60,
    head_s=60,
    body_s=60,
    answer_s=60,
    linger_s=60,
    linger_bytes_max=100_000,
)


Receive = Callable[[], Awaitable[dict[str, Any]]]


class App:
    """What is served; `called` are the paths of the requests that came through."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.bodies: list[bytes] = []
        self.left: list[str] = []
        self.may_answer = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        self.called.append(path)
        self.headers = scope["headers"]
        status, body = 200, path.encode()
        if path == "/refuse":
            status = 401
        elif path == "/big":
            body = b"x" * BIG
        elif path == "/hold":
            await asyncio.to_thread(self.may_answer.wait, 60)
        elif path == "/bug":
            return
        else:
            body = await self._read(receive, path) or body
        await send({"type": "http.response.start", "status": status, "headers": _length(body)})
        await send({"type": "http.response.body", "body": body})

    async def _read(self, receive: Receive, path: str) -> bytes:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.append(path)
                return b""
            body += bytes(message["body"])
            if not message["more_body"]:
                self.bodies.append(body)
                return body


def _length(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", str(len(body)).encode())]


class WatchedProtocol(GuardedProtocol):
    """Remembers how much the parser was given at most that has not become a request or a body."""

    unclaimed_most = 0

    def _parse(self, piece: bytes) -> None:
        super()._parse(piece)
        WatchedProtocol.unclaimed_most = max(WatchedProtocol.unclaimed_most, self._unclaimed)


class _Server(uvicorn.Server):
    def capture_signals(self) -> Any:
        return contextmanager(lambda: iter([None]))()


class Served:
    """The running server, as tests look at it."""

    def __init__(self, limits: Limits) -> None:
        self.app = App()
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address: tuple[str, int] = listener.getsockname()
        self.config = GuardedConfig(
            self.app, limits, WatchedProtocol, lifespan="off", timeout_graceful_shutdown=10
        )
        self.server = _Server(self.config)
        self.table = self.config.table
        self._thread = threading.Thread(target=self._run, args=[listener], daemon=True)
        self._thread.start()
        eventually(lambda: self.server.started, "the server has started")

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        made = socket.create_connection(self.address, timeout=20, source_address=(source, 0))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def ask(self, request: bytes, source: str = "127.0.0.1") -> bytes:
        """Send this and return all that comes until the server closes."""
        with self.connect(source) as client:
            client.sendall(request)
            return rest(client)

    def stop(self) -> None:
        self.app.may_answer.set()
        self.server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self, listener: socket.socket) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self.server.serve([listener]))


@contextmanager
def serving(**changed: Any) -> Iterator[Served]:
    """A server with these limits changed."""
    served = Served(replace(LIMITS, **changed))
    try:
        yield served
    finally:
        served.stop()


def rest(client: socket.socket) -> bytes:
    """Return all that comes until the other side closes; a reset counts as its end."""
    received = b""
    try:
        while piece := client.recv(65_536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def answer(client: socket.socket) -> bytes:
    """Return one answer of a connection that stays open."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(65_536)
        assert piece, received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += client.recv(65_536)
    return head + b"\r\n\r\n" + body
