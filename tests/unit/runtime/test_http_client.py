"""The small HTTP client: kept connections, and exactly one exception for every answer that did not come."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from holdfast.runtime import http_client
from holdfast.runtime.http_client import BadAddress, ConnectionFailed, HttpClient

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 2\r\n\r\nhi"


@asynccontextmanager
async def serving(
    converse: Conversation, connections_max: int = 100
) -> AsyncIterator[tuple[HttpClient, list[int]]]:
    """A client of a server that talks so; the list gets an entry for every connection."""
    connections: list[int] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        try:
            await converse(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    client = HttpClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base/", connections_max)
    try:
        yield client, connections
    finally:
        await client.close()
        server.close()


def answering(*answers: bytes) -> Conversation:
    """Answer the first requests of every connection so, then close it."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

    return converse


def done() -> asyncio.Future[None]:
    """Something to wait for where there is nothing to wait for."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run under the loop that replays use."""

    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario()

    uvloop.run(main())


def test_a_request_goes_out_whole_and_its_answer_comes_back_whole() -> None:
    seen: list[bytes] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen.append(await reader.readexactly(3))
        writer.write(b"HTTP/1.1 201 Created\r\nX-Some: Thing\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n")
        await reader.read()

    async def scenario() -> None:
        async with serving(converse) as (client, _):
            response = await client.request("PUT", "/v1/x", {"a": "b"}, b"abc")
        assert (response.status, response.headers["x-some"], response.json()) == (201, "Thing", [1, 2])

    run(scenario)
    head = seen[0].decode().split("\r\n")
    assert head[0] == "PUT /base/v1/x HTTP/1.1"
    assert head[1].startswith("host: 127.0.0.1:")
    assert head[2:] == ["a: b", "content-length: 3", "", ""]
    assert seen[1] == b"abc"


def test_a_connection_is_kept_and_used_again() -> None:
    async def scenario() -> None:
        async with serving(answering(OK, OK, OK)) as (client, connections):
            for _ in range(3):
                assert (await client.request("GET", "/")).body == b"hi"
            assert len(connections) == 1

    run(scenario)


def test_requests_side_by_side_have_a_connection_each() -> None:
    async def scenario() -> None:
        async with serving(answering(OK, OK)) as (client, connections):
            await asyncio.gather(*(client.request("GET", "/") for _ in range(5)))
            assert len(connections) == 5
            await asyncio.gather(*(client.request("GET", "/") for _ in range(5)))
            assert len(connections) == 5

    run(scenario)


def test_no_more_connections_than_allowed_are_made() -> None:
    async def scenario() -> None:
        async with serving(answering(*[OK] * 6), connections_max=2) as (client, connections):
            answers = await asyncio.gather(*(client.request("GET", "/") for _ in range(6)))
            assert [answer.body for answer in answers] == [b"hi"] * 6
            assert len(connections) == 2

    run(scenario)


def test_a_connection_that_lay_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "IDLE_S_MAX", 0.0)

    async def scenario() -> None:
        async with serving(answering(OK, OK)) as (client, connections):
            for _ in range(2):
                assert (await client.request("GET", "/")).status == 200
            assert len(connections) == 2

    run(scenario)


def test_an_answer_without_end_is_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "ANSWER_BYTES_MAX", 1_000)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"a\r\n0123456789\r\n")
            await writer.drain()

    async def scenario() -> None:
        async with serving(converse) as (client, _):
            with pytest.raises(ConnectionFailed, match="an answer without end"):
                await client.request("GET", "/")

    run(scenario)


def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    async def scenario() -> None:
        async with serving(answering(OK)) as (client, connections):
            assert (await client.request("GET", "/")).status == 200
            await asyncio.wait([connection.closed for connection in client._open] or [done()])
            assert (await client.request("GET", "/")).status == 200
            assert len(connections) == 2

    run(scenario)


def test_a_connection_that_the_server_wants_closed_is_closed() -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK.replace(b"Content", b"connection: close\r\nContent"))
        await reader.read()  # until the client closes it

    async def scenario() -> None:
        async with serving(converse) as (client, connections):
            for _ in range(2):
                assert (await client.request("GET", "/")).status == 200
            assert len(connections) == 2

    run(scenario)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "closed before the answer was whole"),
        (OK[:-1], "closed before the answer was whole"),
        (b"this is not HTTP\r\n\r\n", "not an HTTP answer"),
    ],
)
def test_an_answer_that_is_not_whole_is_a_failed_connection(answer: bytes, said: str) -> None:
    async def scenario() -> None:
        async with serving(answering(answer)) as (client, _):
            with pytest.raises(ConnectionFailed, match=said):
                await client.request("GET", "/")

    run(scenario)


def test_a_refused_connection_is_a_failed_connection() -> None:
    async def scenario() -> None:
        async with serving(answering()) as (client, _):
            pass
        with pytest.raises(ConnectionFailed):
            await client.request("GET", "/")

    run(scenario)


def test_a_late_answer_never_meets_the_next_request() -> None:
    late = asyncio.Event()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await late.wait()
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK.replace(b"hi", b"ho"))

    async def scenario() -> None:
        async with serving(converse) as (client, connections):
            with pytest.raises(ConnectionFailed, match=r"no answer in 0\.05 s"):
                await client.request("GET", "/", timeout_s=0.05)
            await asyncio.wait([connection.closed for connection in client._open] or [done()])
            late.set()
            assert (await client.request("GET", "/")).body == b"hi"
            assert len(connections) == 2

    run(scenario)


def test_requests_given_up_while_they_connect_leave_nothing_to_wait_for() -> None:
    async def scenario() -> None:
        async with serving(answering(OK)) as (client, _):
            for turns in range(200):
                given_up = asyncio.create_task(client.request("GET", "/"))
                for _turn in range(turns % 10):
                    await asyncio.sleep(0)
                given_up.cancel()
                await asyncio.wait([given_up])
            await client.close()
            assert client._open == set()

    run(scenario)


def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    async def scenario() -> None:
        async with serving(answering(OK + OK, OK)) as (client, connections):
            assert (await client.request("GET", "/")).body == b"hi"
            await asyncio.wait([connection.closed for connection in client._open] or [done()])
            assert (await client.request("GET", "/")).body == b"hi"
            assert len(connections) == 2

    run(scenario)


@pytest.mark.parametrize("url", ["ftp://host", "host:80", "http://", "http://host:99999", "http://[::1"])
def test_an_address_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(BadAddress, match="not an http address"):
        HttpClient(url)
