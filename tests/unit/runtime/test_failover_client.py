"""Several addresses of one service: who does not answer is passed over, and no change is sent twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.unit.runtime.test_http_client import OK, Conversation, run

from holdfast.runtime.failover_client import FAILURES_MAX, REST_CAP_MS, FailoverClient
from holdfast.runtime.http_client import ConnectionFailed, HttpClient, Response

NOBODY = "http://127.0.0.1:1"
BUDGET_S = 0.4


class Clock:
    """Time as the event loop has it, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead_s


class Server:
    """Answers, or is frozen: then it takes requests and says nothing. Counts the requests."""

    def __init__(self) -> None:
        self.url = ""
        self.frozen = False
        self.requests = 0
        self.heard = asyncio.Event()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                self.heard.set()
                if not self.frozen:
                    writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def listening(converse: Conversation) -> AsyncIterator[str]:
    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def two_servers() -> AsyncIterator[tuple[Server, Server]]:
    first, second = Server(), Server()
    async with listening(first.converse) as first.url, listening(second.converse) as second.url:
        yield first, second


async def ask(client: FailoverClient, *, repeatable: bool = True) -> Response:
    return await client.request("POST", "/", {}, b"", BUDGET_S, repeatable=repeatable)


Scenario = Callable[[Server, Server, Clock], Awaitable[None]]


def between(scenario: Scenario) -> None:
    async def main() -> None:
        async with two_servers() as (first, second):
            await scenario(first, second, Clock())

    run(main)


def test_the_first_address_is_asked_as_long_as_it_answers() -> None:
    async def scenario(first: Server, second: Server, clock: Clock) -> None:
        client = FailoverClient([first.url, second.url], 10, clock)
        for _ in range(3):
            assert (await ask(client)).status == 200
        assert (first.requests, second.requests) == (3, 0)
        await client.close()

    between(scenario)


def test_a_frozen_address_costs_one_request_a_part_of_its_time_and_the_next_ones_nothing() -> None:
    async def scenario(first: Server, second: Server, clock: Clock) -> None:
        first.frozen = True
        client = FailoverClient([first.url, second.url], 10, clock)
        for _ in range(5):
            assert (await ask(client)).status == 200
        assert (first.requests, second.requests) == (1, 5)
        await client.close()

    between(scenario)


@pytest.mark.parametrize("repeatable", [True, False])
def test_an_address_that_refuses_is_passed_over_for_whatever_request(repeatable: bool) -> None:
    async def scenario(first: Server, _: Server, clock: Clock) -> None:
        client = FailoverClient([NOBODY, first.url], 10, clock)
        assert (await ask(client, repeatable=repeatable)).status == 200
        await client.close()

    between(scenario)


def test_what_may_have_arrived_and_must_not_be_repeated_fails_and_the_next_request_goes_elsewhere() -> None:
    async def scenario(first: Server, second: Server, clock: Clock) -> None:
        first.frozen = True
        client = FailoverClient([first.url, second.url], 10, clock)
        with pytest.raises(ConnectionFailed):
            await ask(client, repeatable=False)
        assert second.requests == 0
        assert (await ask(client, repeatable=False)).status == 200
        assert (first.requests, second.requests) == (1, 1)
        await client.close()

    between(scenario)


def test_an_address_that_has_rested_is_tried_by_one_request_alone_and_is_the_first_again() -> None:
    async def scenario(first: Server, second: Server, clock: Clock) -> None:
        first.frozen = True
        client = FailoverClient([first.url, second.url], 10, clock)
        await ask(client)
        clock.ahead_s += REST_CAP_MS / 1000
        first.heard.clear()
        probe = asyncio.create_task(ask(client))
        await first.heard.wait()
        for _ in range(3):
            assert (await ask(client)).status == 200
        assert first.requests == 2, "only one request finds out"
        assert (await probe).status == 200
        first.frozen = False
        clock.ahead_s += REST_CAP_MS / 1000
        before = second.requests
        for _ in range(3):
            await ask(client)
        assert second.requests == before
        await client.close()

    between(scenario)


def test_the_time_is_one_for_all_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for_s: list[float] = []

    async def scenario(first: Server, second: Server, clock: Clock) -> None:
        async def silent(_client: HttpClient, *request: object) -> Response:
            share_s = request[-1]
            assert isinstance(share_s, float)
            asked_for_s.append(share_s)
            clock.ahead_s += share_s
            raise ConnectionFailed("no answer")

        monkeypatch.setattr(HttpClient, "request", silent)
        client = FailoverClient([first.url, second.url], 10, clock)
        with pytest.raises(ConnectionFailed):
            await ask(client)

    between(scenario)
    assert len(asked_for_s) == 2
    assert asked_for_s[0] == pytest.approx(BUDGET_S / 2, abs=0.01)
    assert sum(asked_for_s) <= BUDGET_S + 1e-9


def test_one_failure_of_the_only_address_refuses_nobody_but_five_in_a_row_do_until_a_probe_is_answered() -> (
    None
):
    async def scenario(first: Server, _: Server, clock: Clock) -> None:
        first.frozen = True
        client = FailoverClient([first.url], 10, clock)
        for _number in range(FAILURES_MAX):
            with pytest.raises(ConnectionFailed, match="no answer in"):
                await client.request("GET", "/", {}, b"", 0.02, repeatable=True)
        assert first.requests == FAILURES_MAX
        with pytest.raises(ConnectionFailed, match="no address has answered lately"):
            await ask(client)
        assert first.requests == FAILURES_MAX, "nobody waits for it in vain"
        first.frozen = False
        clock.ahead_s += REST_CAP_MS / 1000
        assert (await ask(client)).status == 200
        assert (await ask(client)).status == 200
        await client.close()

    between(scenario)


def test_a_probe_that_is_given_up_leaves_the_next_one_free_to_try() -> None:
    async def scenario(first: Server, _: Server, clock: Clock) -> None:
        first.frozen = True
        client = FailoverClient([first.url], 10, clock)
        for _number in range(FAILURES_MAX):
            with pytest.raises(ConnectionFailed):
                await client.request("GET", "/", {}, b"", 0.02, repeatable=True)
        clock.ahead_s += REST_CAP_MS / 1000
        first.heard.clear()
        probe = asyncio.create_task(ask(client))
        await first.heard.wait()
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        first.frozen = False
        assert (await ask(client)).status == 200
        await client.close()

    between(scenario)
