"""The gateway's admission with the real cart-crud, over real connections and on PostgreSQL."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from threading import Event
from typing import Any, cast

import httpx2
import pytest
import uvicorn
from psycopg.conninfo import conninfo_to_dict
from starlette.applications import Starlette
from tests.callers import Caller, authenticator, calling, keys, problem, service_authenticator, whole

from holdfast.bus.memory import MemoryBus
from holdfast.contracts.topics import CART, GATEWAY, PARTITIONS_EMBEDDED, all_topics
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.messaging.components import Ports
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.runtime.migrations import migrate
from holdfast.runtime.service_tokens import ServiceTokens
from holdfast.services.cart_crud import api as cart_api
from holdfast.services.cart_crud.store import PostgresCartTransaction
from holdfast.services.gateway_bff import api as gateway_api
from holdfast.services.gateway_bff.admission import CheckoutAdmission
from holdfast.services.gateway_bff.completion_waiter import CompletionWaiter
from holdfast.services.gateway_bff.main import build
from holdfast.services.gateway_bff.store import PostgresGatewayTransaction
from holdfast.services.gateway_bff.upstream_clients import UpstreamClients

NOWHERE = "http://127.0.0.1:9"  # discard: nobody listens there


@pytest.fixture
def databases(postgres: EmbeddedPostgres, database: str) -> Iterator[tuple[str, str]]:
    """The gateway's and cart-crud's, both migrated."""
    name = f"{conninfo_to_dict(database)['dbname']}_carts"
    postgres.ensure_database(name)
    carts = postgres.dsn(name)
    migrate(database, ("holdfast.messaging", "holdfast.services.gateway_bff"), Event().wait)
    migrate(carts, ("holdfast.messaging", "holdfast.services.cart_crud"), Event().wait)
    yield database, carts
    postgres.drop_database(name)


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[str]:
    """Serve on a free port, from a thread of its own; yields the address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    started = threading.Event()
    startup = server.startup

    async def note(*arguments: Any, **more: Any) -> None:
        await startup(*arguments, **more)
        started.set()

    server.startup = note  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert await asyncio.to_thread(started.wait, 20)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join, 20)


class Visitors:
    """The gateway's clients; the operator calls cart-crud itself."""

    def __init__(self, client: httpx2.AsyncClient, ada: Caller, eve: Caller, operator: Caller) -> None:
        self.client, self.ada, self.eve, self.operator = client, ada, eve, operator


def visit(
    databases: tuple[str, str], scenario: Callable[[Visitors], Awaitable[None]], cart_url: str = ""
) -> None:
    async def main() -> None:
        door_store = PostgresStore(databases[0], PostgresGatewayTransaction)
        cart_store = PostgresStore(databases[1], PostgresCartTransaction)
        bus = MemoryBus(lambda: 0.0)
        bus.create_topics(all_topics(), PARTITIONS_EMBEDDED)
        numbers = count(1)
        ports = Ports(door_store, bus, lambda: 0, "test", PARTITIONS_EMBEDDED)
        parts = build(cast("Any", ports), lambda: next(numbers))
        try:
            with keys() as made:
                made_apps = cart_api.apps(cart_store, authenticator(made), service_authenticator(made, CART))
                tokens = ServiceTokens(made.of_service(GATEWAY), GATEWAY)
                async with serving(whole(made_apps)) as carts:
                    neighbours = UpstreamClients(cart_url or carts, NOWHERE, tokens.authorization)
                    waiting = CompletionWaiter(door_store)
                    door = CheckoutAdmission(
                        door_store, parts.starter, neighbours.snapshots, parts.breaker, parts.load_shedding
                    )
                    app = gateway_api.app(door_store, authenticator(made), door, neighbours, waiting)
                    async with (
                        calling(app) as client,
                        httpx2.AsyncClient(base_url=carts, trust_env=False) as directly,
                    ):
                        ada, eve = (Caller(client, made.token(user)) for user in ("ada", "eve"))
                        operator = Caller(directly, made.token("oscar", operator=True))
                        await scenario(Visitors(client, ada, eve, operator))
        finally:
            door_store.close()
            cart_store.close()

    asyncio.run(main())


async def stock_up(visitors: Visitors) -> None:
    products = [{"sku": f"sku-{n}", "price_minor": 100 + n, "currency": "GBP"} for n in range(5)]
    assert (await visitors.operator.ask("PUT", "/v1/products", {"products": products})).status_code == 200


def test_carts_and_products_are_handed_through_with_token_condition_and_problems(
    databases: tuple[str, str],
) -> None:
    async def scenario(visitors: Visitors) -> None:
        await stock_up(visitors)
        ada = visitors.ada
        page = (await ada.ask("GET", "/v1/products?limit=2&after=sku-1")).json()
        assert ([item["sku"] for item in page["items"]], page["next"]) == (["sku-2", "sku-3"], "sku-3")
        put = await ada.ask("PUT", "/v1/carts/c-1", {"lines": [{"sku": "sku-1", "quantity": 3}]})
        assert (put.status_code, put.json()["total_minor"], put.headers["etag"]) == (200, 303, '"1"')
        line = await ada.ask("PUT", "/v1/carts/c-1/lines/sku-2", {"quantity": 1}, headers={"if-match": '"1"'})
        assert line.json()["version"] == 2
        stale = await ada.ask("DELETE", "/v1/carts/c-1/lines/sku-2", headers={"if-match": '"1"'})
        assert problem(stale) == (412, "other_version", [])
        assert problem(await visitors.eve.ask("GET", "/v1/carts/c-1")) == (404, "not_found", [])
        priced = {"lines": [{"sku": "sku-1", "quantity": 1, "price": 1}]}
        assert problem(await ada.ask("PUT", "/v1/carts/c-1", priced)) == (
            422,
            "invalid_request",
            ["/lines/0/price"],
        )
        card = {"lines": [{"sku": "4111111111111111", "quantity": 1}]}
        assert problem(await ada.ask("PUT", "/v1/carts/c-1", card)) == (
            422,
            "card_number_refused",
            ["/lines/0/sku"],
        )
        big = await ada.ask("PUT", "/v1/carts/c-1", raw=b" " * 70_000)
        assert problem(big) == (413, "body_too_large", [])
        nobody = await visitors.client.get("/v1/carts/c-1")
        assert problem(nobody) == (401, "unauthenticated", [])
        assert nobody.headers["www-authenticate"].startswith("Bearer")
        head = await ada.ask("HEAD", "/v1/carts/c-1")
        assert (head.status_code, head.headers["etag"]) == (200, '"2"')

    visit(databases, scenario)


@pytest.mark.parametrize(
    "path",
    [
        "/internal/v1/snapshots",
        "/v1/carts/..%2F..%2Finternal%2Fv1%2Fsnapshots",
        "/v1/carts/c-1/hold",
        "/v1/carts/c-1/lines/%2E%2E",
    ],
)
def test_nothing_else_of_cart_crud_can_be_reached_through_the_gateway(
    databases: tuple[str, str], path: str
) -> None:
    async def scenario(visitors: Visitors) -> None:
        body = {"carts": [{"cart_id": "c-1", "user_id": "ada"}]}
        for method in ("POST", "PUT", "GET"):
            assert (await visitors.eve.ask(method, path, body)).status_code in (404, 405, 422)

    visit(databases, scenario)


def test_a_cart_is_checked_out_at_the_price_that_cart_crud_says(databases: tuple[str, str]) -> None:
    async def scenario(visitors: Visitors) -> None:
        await stock_up(visitors)
        lines = {"lines": [{"sku": "sku-1", "quantity": 3}]}
        body = {"cart_id": "c-1", "payment_method": "pm_card_visa", "expected_total_minor": 303}
        key = {"idempotency-key": "key-1"}
        for caller in (visitors.ada, visitors.eve):
            missing = await caller.ask("POST", "/v1/checkouts", body, headers=key)
            assert problem(missing) == (404, "not_found", [])
            await visitors.ada.ask("PUT", "/v1/carts/c-1", lines)
        started = await visitors.ada.ask("POST", "/v1/checkouts", body, headers=key)
        assert started.status_code == 202
        told = (await visitors.ada.ask("GET", started.headers["location"])).json()
        assert (told["total_minor"], told["currency"], told["stale"]) == (303, "GBP", True)
        foreign = await visitors.eve.ask("GET", started.headers["location"])
        assert problem(foreign) == (404, "not_found", [])

    visit(databases, scenario)


def test_two_users_check_out_carts_of_the_same_id_each_at_its_own_price(databases: tuple[str, str]) -> None:
    async def scenario(visitors: Visitors) -> None:
        await stock_up(visitors)
        sagas, totals = set(), []
        for caller, quantity in ((visitors.ada, 3), (visitors.eve, 5)):
            lines = {"lines": [{"sku": "sku-1", "quantity": quantity}]}
            assert (await caller.ask("PUT", "/v1/carts/c-1", lines)).status_code == 200
        for caller in (visitors.ada, visitors.eve):
            body = {"cart_id": "c-1", "payment_method": "pm_card_visa"}
            started = await caller.ask("POST", "/v1/checkouts", body, headers={"idempotency-key": "key-1"})
            assert started.status_code == 202, started.text
            sagas.add(started.json()["saga_id"])
            totals.append((await caller.ask("GET", started.headers["location"])).json()["total_minor"])
        assert (len(sagas), totals) == (2, [303, 505])

    visit(databases, scenario)


def test_many_shoppers_at_once_all_get_through(databases: tuple[str, str]) -> None:
    async def scenario(visitors: Visitors) -> None:
        await stock_up(visitors)

        async def shop(n: int) -> str:
            lines = {"lines": [{"sku": f"sku-{n % 5}", "quantity": 1}]}
            assert (await visitors.ada.ask("PUT", f"/v1/carts/c-{n}", lines)).status_code == 200
            body = {"cart_id": f"c-{n}", "payment_method": "pm_card_visa"}
            headers = {"idempotency-key": f"key-{n}"}
            answer = await visitors.ada.ask("POST", "/v1/checkouts", body, headers=headers)
            assert answer.status_code == 202, answer.text
            return str(answer.json()["saga_id"])

        assert len(set(await asyncio.gather(*(shop(n) for n in range(100))))) == 100

    visit(databases, scenario)


def test_with_cart_crud_down_the_gateway_says_when_to_come_back(databases: tuple[str, str]) -> None:
    async def scenario(visitors: Visitors) -> None:
        body = {"cart_id": "c-1", "payment_method": "pm_card_visa"}
        for method, path, sent in (
            ("GET", "/v1/products", None),
            ("GET", "/v1/carts/c-1", None),
            ("PUT", "/v1/carts/c-1", {"lines": []}),
            ("POST", "/v1/checkouts", body),
        ):
            answer = await visitors.ada.ask(method, path, sent, headers={"idempotency-key": "key-1"})
            assert problem(answer) == (503, "dependency_unavailable", [])
            assert int(answer.headers["retry-after"]) >= 1

    visit(databases, scenario, cart_url=NOWHERE)
