"""What the gateway asks of others: one kind of call that is slow or refused holds up no other kind."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from tests.unit.runtime.test_failover_client import listening
from tests.unit.runtime.test_http_client import run

from holdfast.contracts.http_api import Cancellation, SagaView, SagaViews, Snapshot, Snapshots
from holdfast.runtime.problems import Problem
from holdfast.services.gateway_bff import upstream_clients as module
from holdfast.services.gateway_bff.upstream_clients import UpstreamClients

NOWHERE = "http://127.0.0.1:1"
SAGA = SagaView("", "COMPENSATING", 2, "cancelled_by_shopper")
ANSWERS: dict[str, Any] = {
    "/internal/v1/snapshots": Snapshots((Snapshot(),)),
    "/internal/v1/sagas": SagaViews((SAGA,)),
    "/internal/v1/sagas/cancel": Cancellation(True, SAGA),
}


class Instance:
    """A neighbour that says nothing on some paths, and notes what it was asked."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.changed = asyncio.Condition()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                await reader.readexactly(length)
                path = head.split(" ")[1]
                async with self.changed:
                    self.asked[path] += 1
                    self.changed.notify_all()
                if path not in self.silent:
                    body = msgspec.json.encode(ANSWERS.get(path, {}))
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def was_asked(self, path: str, times: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.asked[path] >= times)


def request(method: str, path: str) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
    }
    return Request(scope, receive)


def beside(scenario: Callable[[UpstreamClients, Instance, Instance], Awaitable[None]]) -> None:
    """Run with two instances that are cart-crud and orchestrator in one, the first one asked first."""

    async def main() -> None:
        first, second = Instance(), Instance()
        async with listening(first.converse) as one, listening(second.converse) as other:
            upstreams = UpstreamClients(f"{one},{other}", f"{one},{other}", str)
            try:
                await scenario(upstreams, first, second)
            finally:
                await upstreams.close()

    run(main)


async def given_up(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_product_lookups_without_an_answer_hold_up_no_checkout_and_no_cart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FORWARDED_MAX", 3)

    async def scenario(upstreams: UpstreamClients, first: Instance, _: Instance) -> None:
        first.silent = {"/v1/products"}
        slow = [asyncio.create_task(upstreams.forward(request("GET", "/v1/products"))) for _ in range(3)]
        await first.was_asked("/v1/products", 3)
        with pytest.raises(Problem) as refused:
            await upstreams.forward(request("GET", "/v1/products"))
        assert refused.value.kind.code == "overloaded", "one more is turned away at once"
        assert await upstreams.snapshots([("c", "ada")]) == [Snapshot()]
        assert (await upstreams.forward(request("GET", "/v1/carts/c"))).status_code == 200
        assert (await upstreams.forward(request("PUT", "/v1/carts/c"))).status_code == 200
        assert first.asked["/internal/v1/snapshots"] == 1, "it is not passed over for another kind's silence"
        await given_up(*slow)

    beside(scenario)


def test_saga_questions_without_an_answer_hold_up_no_cancellation() -> None:
    async def scenario(upstreams: UpstreamClients, first: Instance, second: Instance) -> None:
        first.silent = second.silent = {"/internal/v1/sagas"}
        slow = [asyncio.create_task(upstreams.sagas([("s", "ada")])) for _ in range(module.QUESTIONS_MAX)]
        await first.was_asked("/internal/v1/sagas", module.QUESTIONS_MAX)
        assert (await upstreams.cancel("s", "ada")).cancelled
        assert first.asked["/internal/v1/sagas/cancel"] == 1
        await given_up(*slow)

    beside(scenario)


def test_a_cancellation_is_told_by_the_second_orchestrator_while_the_first_is_frozen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.5)

    async def scenario(upstreams: UpstreamClients, first: Instance, second: Instance) -> None:
        first.silent = set(ANSWERS)
        assert (await upstreams.cancel("s", "ada")).cancelled
        assert (await upstreams.cancel("t", "ada")).cancelled
        assert (first.asked["/internal/v1/sagas/cancel"], second.asked["/internal/v1/sagas/cancel"]) == (1, 2)

    beside(scenario)


def test_a_change_of_a_cart_that_may_have_arrived_is_sent_to_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)

    async def scenario(upstreams: UpstreamClients, first: Instance, second: Instance) -> None:
        first.silent = {"/v1/carts/c"}
        with pytest.raises(Problem):
            await upstreams.forward(request("PUT", "/v1/carts/c"))
        assert second.asked["/v1/carts/c"] == 0
        assert (await upstreams.forward(request("PUT", "/v1/carts/c"))).status_code == 200
        assert second.asked["/v1/carts/c"] == 1

    beside(scenario)


def test_nobody_at_any_address_is_a_problem() -> None:
    async def scenario() -> None:
        upstreams = UpstreamClients(f"{NOWHERE},{NOWHERE}", NOWHERE, str)
        with pytest.raises(Problem):
            await upstreams.snapshots([("c", "ada")])
        await upstreams.close()

    run(scenario)
