"""Whatever pieces a request comes in, it is the same request: no piece is read twice, skipped, or misread."""

import asyncio
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from holdfast.http_server.config import GuardedConfig
from holdfast.http_server.guarded_protocol import GuardedProtocol
from holdfast.http_server.limits import Limits

STREAM = (
    b"\r\nGET /1?q=a HTTP/1.1\r\nHost: x\r\nA:\r\n\r\n"
    b"POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    b"POST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: 1\r\n\r\n"
    b"GET http://y/4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
)
EXPECTED = [
    ("/1", b"", [b"host", b"a"]),
    ("/2", b"hello", [b"host", b"content-length"]),
    ("/3", b"abcde", [b"host", b"transfer-encoding"]),
    ("/4", b"", [b"host", b"connection"]),
]


class Wire(asyncio.Transport):
    """A transport in memory whose client takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reads = asyncio.Event()
        self.reads.set()
        self.ended = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reads.clear()

    def resume_reading(self) -> None:
        self.reads.set()

    def write_eof(self) -> None:
        self.ended.set()

    def close(self) -> None:
        self.ended.set()


async def converse(pieces: list[bytes]) -> tuple[list[tuple[str, bytes, list[bytes]]], Wire]:
    """Send these pieces to a connection; return the requests that came of them, and what was answered."""
    seen: list[tuple[str, bytes, list[bytes]]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        seen.append((scope["path"], body, [name for name, _ in scope["headers"]]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    config = GuardedConfig(app, Limits(), lifespan="off")
    config.load()
    protocol = GuardedProtocol(config, ServerState(), {})
    wire = Wire()
    protocol.connection_made(wire)
    for piece in pieces:
        await wire.reads.wait()
        protocol.data_received(piece)
        await asyncio.sleep(0)
    await wire.ended.wait()
    protocol.connection_lost(None)
    return seen, wire


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(1, len(STREAM) - 1), max_size=40))
def test_a_stream_of_requests_is_the_same_in_whatever_pieces_it_comes(cuts: set[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in pairwise(places)]
    seen, wire = asyncio.run(asyncio.wait_for(converse(pieces), 60))
    assert seen == EXPECTED
    assert wire.written.count(b"HTTP/1.1 204 ") == len(EXPECTED)
    assert wire.written.count(b"connection: close") == 1


def test_byte_by_byte_too() -> None:
    seen, _ = asyncio.run(asyncio.wait_for(converse([bytes([byte]) for byte in STREAM]), 60))
    assert seen == EXPECTED
