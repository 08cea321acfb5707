"""Products and operators' acts over HTTP: prices in pages, set in one go, holds with their reasons."""

from typing import Any

import pytest
from tests.callers import problem
from tests.unit.cart_crud.cart_harness import PRODUCTS, Shop, lines, shop


def test_products_come_in_pages_by_code() -> None:
    async def scenario(shop: Shop) -> None:
        first = (await shop.ada.ask("GET", "/v1/products?limit=2")).json()
        assert first == {"items": PRODUCTS[:2], "next": "tea"}
        assert (await shop.ada.ask("GET", "/v1/products?limit=2&after=tea")).json() == {
            "items": PRODUCTS[2:],
            "next": None,
        }
        assert (await shop.ada.ask("GET", "/v1/products?limit=3")).json()["next"] is None
        for wrong, pointer in (("limit=0", "/limit"), ("limit=1001", "/limit"), ("limit=x", "/limit")):
            answer = await shop.ada.ask("GET", f"/v1/products?{wrong}")
            assert problem(answer) == (422, "invalid_request", [pointer])
        assert problem(await shop.ada.ask("GET", "/v1/products?after=a%00"))[2] == ["/after"]

    shop(scenario)


@pytest.mark.parametrize(
    ("product", "pointer"),
    [
        ({"sku": "x", "price_minor": 0, "currency": "GBP"}, "/products/0/price_minor"),
        ({"sku": "x", "price_minor": 450_359_963, "currency": "GBP"}, "/products/0/price_minor"),
        ({"sku": "x", "price_minor": 9.5, "currency": "GBP"}, "/products/0/price_minor"),
        ({"sku": "x", "price_minor": 1, "currency": "pound"}, "/products/0/currency"),
        ({"sku": "x y", "price_minor": 1, "currency": "GBP"}, "/products/0/sku"),
    ],
)
def test_an_impossible_product_is_refused(product: dict[str, Any], pointer: str) -> None:
    async def scenario(shop: Shop) -> None:
        answer = await shop.operator.ask("PUT", "/v1/products", {"products": [product]})
        assert problem(answer) == (422, "invalid_request", [pointer])

    shop(scenario)


def test_products_can_be_set_5000_at_a_time_each_once() -> None:
    async def scenario(shop: Shop) -> None:
        def products(count: int) -> dict[str, Any]:
            long = "p" * 59
            return {
                "products": [{"sku": f"{long}{n}", "price_minor": 1, "currency": "GBP"} for n in range(count)]
            }

        assert (await shop.operator.ask("PUT", "/v1/products", products(5000))).json() == {"products": 5000}
        too_many = await shop.operator.ask("PUT", "/v1/products", products(5001))
        assert problem(too_many) == (422, "invalid_request", ["/products"])
        twice = await shop.operator.ask("PUT", "/v1/products", {"products": [*PRODUCTS, PRODUCTS[0]]})
        assert problem(twice) == (422, "invalid_request", ["/products/0/sku", "/products/3/sku"])

    shop(scenario)


def test_a_new_price_is_a_carts_price_at_once_without_a_new_version() -> None:
    async def scenario(shop: Shop) -> None:
        await shop.ada.ask("PUT", "/v1/carts/c-1", lines(mug=2))
        dearer = {"products": [{"sku": "mug", "price_minor": 700, "currency": "GBP"}]}
        assert (await shop.operator.ask("PUT", "/v1/products", dearer)).status_code == 200
        got = (await shop.ada.ask("GET", "/v1/carts/c-1")).json()
        assert (got["total_minor"], got["version"]) == (1400, 1)

    shop(scenario)


def test_operators_hold_and_release_a_cart_and_every_act_is_logged_with_its_reason() -> None:
    async def scenario(shop: Shop) -> None:
        await shop.ada.ask("PUT", "/v1/carts/c-1", lines(mug=2))
        held = await shop.operator.ask("POST", "/v1/carts/c-1/hold", {"reason": "fraud check"})
        assert (held.status_code, held.json()) == (200, {"cart_id": "c-1", "user_id": "ada", "held": True})
        assert shop.store.tables.tables["cart"]["c-1", "ada"].held == "fraud check"
        released = await shop.operator.ask("POST", "/v1/carts/c-1/release", {"reason": "all is well"})
        assert released.json() == {"cart_id": "c-1", "user_id": "ada", "held": False}
        assert not shop.store.tables.tables["cart"]["c-1", "ada"].held
        log = [tuple(action) for _, action in shop.store.tables.tables["operator_actions"].values()]
        assert log == [
            ("oscar", "set_prices", "product", "3 prices"),
            ("oscar", "hold", "c-1 of ada", "fraud check"),
            ("oscar", "release", "c-1 of ada", "all is well"),
        ]

    shop(scenario)


def test_of_several_carts_of_one_id_the_operator_says_whose() -> None:
    async def scenario(shop: Shop) -> None:
        await shop.ada.ask("PUT", "/v1/carts/c-1", lines(mug=2))
        await shop.eve.ask("PUT", "/v1/carts/c-1", lines(tea=1))
        path, carts = "/v1/carts/c-1/hold", shop.store.tables.tables["cart"]
        several = await shop.operator.ask("POST", path, {"reason": "fraud check"})
        assert problem(several) == (409, "several_carts", [])
        assert several.json()["users"] == ["ada", "eve"]
        assert [cart.held for cart in carts.values()] == ["", ""]
        held = await shop.operator.ask("POST", path, {"reason": "fraud check", "user_id": "eve"})
        assert held.json() == {"cart_id": "c-1", "user_id": "eve", "held": True}
        assert [carts["c-1", user].held for user in ("ada", "eve")] == ["", "fraud check"]
        nobodys = await shop.operator.ask("POST", path, {"reason": "r", "user_id": "bob"})
        assert problem(nobodys) == (404, "not_found", [])

    shop(scenario)


@pytest.mark.parametrize("reason", [None, "", "  ", "a\nb", "x" * 501])
def test_a_hold_needs_a_reason(reason: str | None) -> None:
    async def scenario(shop: Shop) -> None:
        await shop.ada.ask("PUT", "/v1/carts/c-1", lines(mug=2))
        body = {} if reason is None else {"reason": reason}
        answer = await shop.operator.ask("POST", "/v1/carts/c-1/hold", body)
        assert problem(answer) == (422, "invalid_request", ["/reason"])

    shop(scenario)


def test_shoppers_cannot_act_as_operators_nor_operators_as_shoppers() -> None:
    async def scenario(shop: Shop) -> None:
        for method, path, body in (
            ("PUT", "/v1/products", {"products": PRODUCTS}),
            ("POST", "/v1/carts/c-1/hold", {"reason": "r"}),
            ("POST", "/v1/carts/c-1/release", {"reason": "r"}),
        ):
            answer = await shop.ada.ask(method, path, body)
            assert problem(answer) == (403, "forbidden", [])
            assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert problem(await shop.operator.ask("GET", "/v1/carts/c-1")) == (403, "forbidden", [])
        missing = await shop.operator.ask("POST", "/v1/carts/none/hold", {"reason": "r"})
        assert problem(missing) == (404, "not_found", [])

    shop(scenario)
