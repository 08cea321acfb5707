"""/v1/stock: who may look and set, what is refused, and that it is known who did."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from tests.callers import Caller, authenticator, calling, keys, problem

from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.store import OperatorAction
from holdfast.services.inventory_write.api import app
from holdfast.services.inventory_write.domain import Stock
from holdfast.services.inventory_write.memory_store import MemoryInventoryTransaction

PATH = "/v1/stock"


@dataclass
class Warehouse:
    store: MemoryStore[MemoryInventoryTransaction]
    operator: Caller
    shopper: Caller


def visit(scenario: Callable[[Warehouse], Awaitable[None]]) -> None:
    async def run() -> None:
        store = MemoryStore(MemoryInventoryTransaction, lambda: 0)
        with keys() as made:
            async with calling(app(store, authenticator(made))) as client:
                operator = Caller(client, made.token("olga", operator=True))
                await scenario(Warehouse(store, operator, Caller(client, made.token("ada"))))

    asyncio.run(run())


def pieces(**on_hand: int) -> dict[str, list[dict[str, str | int]]]:
    return {"stock": [{"sku": sku, "on_hand": count} for sku, count in on_hand.items()]}


def test_stock_is_set_and_read_page_by_page_and_it_is_known_who_set_it() -> None:
    async def scenario(house: Warehouse) -> None:
        assert (await house.operator.ask("PUT", PATH, pieces(ink=3, mug=5, pen=7))).status_code == 204
        first = (await house.operator.ask("GET", f"{PATH}?limit=2")).json()
        assert ([row["sku"] for row in first["items"]], first["next"]) == (["ink", "mug"], "mug")
        rest = (await house.operator.ask("GET", f"{PATH}?limit=2&after=mug")).json()
        assert ([row["on_hand"] for row in rest["items"]], rest["next"]) == ([7], None)
        with house.store.transaction() as tx:
            [action] = tx.table("operator_actions").values()
        assert action[1] == OperatorAction("olga", "set_stock", "stock", "3 codes")

    visit(scenario)


def test_pieces_that_are_gone_cannot_be_unmade() -> None:
    async def scenario(house: Warehouse) -> None:
        with house.store.transaction() as tx:
            tx.save_stock([Stock("mug", 5, 2, 1, 2)])
        refused = await house.operator.ask("PUT", PATH, pieces(pen=1, mug=2))
        assert problem(refused) == (409, "stock_is_gone", ["/stock/1/on_hand"])
        assert (await house.operator.ask("PUT", PATH, pieces(mug=3))).status_code == 204
        assert (await house.operator.ask("GET", PATH)).json()["items"] == [Stock("mug", 3, 0, 1, 2)._asdict()]

    visit(scenario)


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "0000000010000000", "1" * 5_000])
def test_a_page_has_a_bound(limit: str) -> None:
    async def scenario(house: Warehouse) -> None:
        assert problem(await house.operator.ask("GET", f"{PATH}?limit={limit}")) == (
            422,
            "invalid_request",
            ["/limit"],
        )

    visit(scenario)


def test_shoppers_have_no_way_in() -> None:
    async def scenario(house: Warehouse) -> None:
        assert problem(await house.shopper.ask("GET", PATH))[:2] == (403, "forbidden")
        assert problem(await house.shopper.ask("PUT", PATH, pieces(mug=1)))[:2] == (403, "forbidden")

    visit(scenario)
