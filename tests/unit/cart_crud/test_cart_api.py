"""cart-crud over HTTP, on the store in memory: every promise about carts."""

import asyncio
from typing import Any

import pytest
from tests.callers import problem
from tests.unit.cart_crud.cart_harness import Shop, lines, shop

from holdfast.messaging.store import StoreUnavailable
from holdfast.services.cart_crud.memory_store import MemoryCartTransaction


def test_a_cart_is_answered_with_server_prices_total_version_and_etag() -> None:
    async def scenario(shop: Shop) -> None:
        put = await shop.ada.ask("PUT", "/v1/carts/c-1", lines(mug=2, tea=1))
        assert put.status_code == 200
        assert put.json() == {
            "cart_id": "c-1",
            "version": 1,
            "currency": "GBP",
            "total_minor": 1699,
            "lines": [
                {"sku": "mug", "quantity": 2, "unit_price_minor": 650},
                {"sku": "tea", "quantity": 1, "unit_price_minor": 399},
            ],
        }
        got = await shop.ada.ask("GET", "/v1/carts/c-1")
        assert got.content == put.content
        assert got.headers["etag"] == put.headers["etag"] == '"1"'

    shop(scenario)


def test_lines_are_set_and_removed_one_by_one_and_the_version_counts() -> None:
    async def scenario(shop: Shop) -> None:
        await shop.ada.ask("PUT", "/v1/carts/c-1", lines(mug=2))
        added = await shop.ada.ask("PUT", "/v1/carts/c-1/lines/tea", {"quantity": 3})
        assert (added.json()["version"], len(added.json()["lines"])) == (2, 2)
        removed = await shop.ada.ask("DELETE", "/v1/carts/c-1/lines/mug")
        assert removed.json()["version"] == 3
        assert [line["sku"] for line in removed.json()["lines"]] == ["tea"]
        again = await shop.ada.ask("DELETE", "/v1/carts/c-1/lines/mug")
        assert (again.status_code, again.json()["version"]) == (200, 3)
        emptied = await shop.ada.ask("PUT", "/v1/carts/c-1", {"lines": []})
        assert emptied.json() == {
            "cart_id": "c-1",
            "version": 4,
            "currency": None,
            "total_minor": 0,
            "lines": [],
        }

    shop(scenario)


def test_a_repeated_code_is_summed() -> None:
    async def scenario(shop: Shop) -> None:
        body = {"lines": [{"sku": "mug", "quantity": 2}, {"sku": "mug", "quantity": 3}]}
        put = await shop.ada.ask("PUT", "/v1/carts/c-1", body)
        assert put.json()["lines"] == [{"sku": "mug", "quantity": 5, "unit_price_minor": 650}]

    shop(scenario)


def test_another_users_cart_is_as_good_as_none_and_its_id_is_free() -> None:
    async def scenario(shop: Shop) -> None:
        await shop.ada.ask("PUT", "/v1/carts/hers", lines(mug=2))
        for cart_id in ("hers", "none"):
            for method, path, body in (
                ("GET", f"/v1/carts/{cart_id}", None),
                ("PUT", f"/v1/carts/{cart_id}/lines/mug", {"quantity": 1}),
                ("DELETE", f"/v1/carts/{cart_id}/lines/mug", None),
            ):
                answer = await shop.eve.ask(method, path, body)
                assert problem(answer) == (404, "not_found", [])
        own = await shop.eve.ask("PUT", "/v1/carts/hers", lines(mug=9))
        fresh = await shop.eve.ask("PUT", "/v1/carts/fresh", lines(mug=9))
        assert own.status_code == fresh.status_code == 200
        assert own.json() == fresh.json() | {"cart_id": "hers"}, "nothing shows that the id was known"
        for caller, pieces in ((shop.ada, 2), (shop.eve, 9)):
            assert (await caller.ask("GET", "/v1/carts/hers")).json()["lines"][0]["quantity"] == pieces

    shop(scenario)


@pytest.mark.parametrize(
    ("line", "pointer"),
    [
        ('{"sku": "mug", "quantity": true}', "/lines/0/quantity"),
        ('{"sku": "mug", "quantity": 1.0}', "/lines/0/quantity"),
        ('{"sku": "mug", "quantity": 1e0}', "/lines/0/quantity"),
        ('{"sku": "mug", "quantity": "1"}', "/lines/0/quantity"),
        ('{"sku": "mug", "quantity": null}', "/lines/0/quantity"),
        ('{"sku": "mug", "quantity": 0}', "/lines/0/quantity"),
        ('{"sku": "mug", "quantity": -1}', "/lines/0/quantity"),
        ('{"sku": "mug", "quantity": 100001}', "/lines/0/quantity"),
        ('{"sku": "mug", "quantity": 92233720368547758080}', "/lines/0/quantity"),
        ('{"sku": "mug", "quantity": 99999}, {"sku": "mug", "quantity": 2}', "/lines/1/quantity"),
        ('{"sku": "mug"}', "/lines/0/quantity"),
        ('{"quantity": 1}', "/lines/0/sku"),
        ('{"sku": "mug", "quantity": 1}, {"sku": "nope", "quantity": 1}', "/lines/1/sku"),
        ('{"sku": "mug", "quantity": 1}, {"sku": "wein", "quantity": 1}', "/lines/1/sku"),
        ('{"sku": "m\\u0000g", "quantity": 1}', "/lines/0/sku"),
        ('{"sku": "mug\\n", "quantity": 1}', "/lines/0/sku"),
        ('{"sku": "", "quantity": 1}', "/lines/0/sku"),
        ('{"sku": "mug", "quantity": 1, "unit_price_minor": 1}', "/lines/0/unit_price_minor"),
        ('{"sku": "mug", "quantity": 1, "price": 1}', "/lines/0/price"),
    ],
)
def test_an_impossible_line_is_a_422_that_names_its_field(line: str, pointer: str) -> None:
    async def scenario(shop: Shop) -> None:
        answer = await shop.ada.ask("PUT", "/v1/carts/c-1", raw=f'{{"lines": [{line}]}}'.encode())
        status, _, pointers = problem(answer)
        assert (status, pointers) == (422, [pointer])
        assert (await shop.ada.ask("GET", "/v1/carts/c-1")).status_code == 404

    shop(scenario)


def test_a_price_from_the_client_is_refused_in_words() -> None:
    async def scenario(shop: Shop) -> None:
        body = {"lines": [{"sku": "mug", "quantity": 1, "price_minor": 1}]}
        answer = await shop.ada.ask("PUT", "/v1/carts/c-1", body)
        assert "prices and totals come from the server" in answer.json()["errors"][0]["detail"]
        whole = await shop.ada.ask("PUT", "/v1/carts/c-1", {**lines(mug=1), "total_minor": 1})
        assert problem(whole) == (422, "invalid_request", ["/total_minor"])

    shop(scenario)


def test_more_than_200_codes_are_refused() -> None:
    async def scenario(shop: Shop) -> None:
        many = [{"sku": f"s{n}", "price_minor": 1, "currency": "GBP"} for n in range(201)]
        assert (await shop.operator.ask("PUT", "/v1/products", {"products": many})).status_code == 200
        codes = {f"s{n}": 1 for n in range(201)}
        refused = await shop.ada.ask("PUT", "/v1/carts/c-1", lines(**codes))
        assert problem(refused) == (422, "too_many_lines", ["/lines/200"])
        del codes["s200"]
        assert (await shop.ada.ask("PUT", "/v1/carts/c-1", lines(**codes))).status_code == 200
        one_more = await shop.ada.ask("PUT", "/v1/carts/c-1/lines/s200", {"quantity": 1})
        assert problem(one_more) == (422, "too_many_lines", [""])

    shop(scenario)


@pytest.mark.parametrize(
    "cart_id", ["a%00b", "a%0Ab", "a b", "%C3%A4", "a" * 65, "-a", "%2E%2E", "a%27%3B--", "a%5Cb"]
)
def test_a_path_that_holds_no_id_is_not_found(cart_id: str) -> None:
    async def scenario(shop: Shop) -> None:
        for method, path, body in (
            ("GET", f"/v1/carts/{cart_id}", None),
            ("PUT", f"/v1/carts/{cart_id}", lines(mug=1)),
            ("PUT", f"/v1/carts/c-1/lines/{cart_id}", {"quantity": 1}),
        ):
            assert (await shop.ada.ask(method, path, body)).status_code == 404

    shop(scenario)


def test_if_match_lets_only_the_version_it_names_be_changed() -> None:
    async def scenario(shop: Shop) -> None:
        await shop.ada.ask("PUT", "/v1/carts/c-1", lines(mug=1))
        moved = await shop.ada.ask("PUT", "/v1/carts/c-1", lines(mug=2), headers={"if-match": '"1"'})
        assert moved.headers["etag"] == '"2"'
        late = await shop.ada.ask("PUT", "/v1/carts/c-1", lines(mug=3), headers={"if-match": '"1"'})
        assert problem(late) == (412, "other_version", [])
        assert late.json()["version"] == 2
        for never in ('W/"2"', "2", '"0"', "rubbish"):
            answer = await shop.ada.ask("DELETE", "/v1/carts/c-1/lines/mug", headers={"if-match": never})
            assert answer.status_code == 412
        any_of_them = await shop.ada.ask("DELETE", "/v1/carts/c-1/lines/mug", headers={"if-match": "*"})
        assert any_of_them.json()["version"] == 3

    shop(scenario)


def test_without_a_token_nothing_is_answered() -> None:
    async def scenario(shop: Shop) -> None:
        for method, path in (("GET", "/v1/products"), ("GET", "/v1/carts/c-1"), ("PUT", "/v1/carts/c-1")):
            answer = await shop.client.request(method, path)
            assert problem(answer) == (401, "unauthenticated", [])

    shop(scenario)


def test_snapshots_say_for_each_cart_what_it_is_or_why_not() -> None:
    async def scenario(shop: Shop) -> None:
        await shop.ada.ask("PUT", "/v1/carts/full", lines(mug=2))
        await shop.ada.ask("PUT", "/v1/carts/empty", lines())
        wanted = [
            {"cart_id": cart_id, "user_id": user}
            for cart_id, user in (("full", "ada"), ("empty", "ada"), ("full", "eve"), ("none", "ada"))
        ]
        answer = await shop.gateway.ask("POST", "/internal/v1/snapshots", {"carts": wanted})
        line = {"sku": "mug", "quantity": 2, "unit_price_minor": 650}
        nothing = {"currency": "", "total_minor": 0, "lines": []}
        assert answer.json()["carts"] == [
            {"refused": "", "version": 1, "currency": "GBP", "total_minor": 1300, "lines": [line]},
            {"refused": "empty", "version": 1, **nothing},
            {"refused": "missing", "version": 0, **nothing},
            {"refused": "missing", "version": 0, **nothing},
        ]

    shop(scenario)


def test_edits_at_the_same_time_share_a_transaction_and_none_is_lost() -> None:
    async def scenario(shop: Shop) -> None:
        await shop.ada.ask("PUT", "/v1/carts/c-0", lines())
        answers = await asyncio.gather(
            *(shop.ada.ask("PUT", f"/v1/carts/c-{n % 10}", lines(mug=n + 1)) for n in range(50)),
            *(shop.eve.ask("PUT", f"/v1/carts/c-{n}", lines(mug=1)) for n in range(1)),
        )
        assert [answer.status_code for answer in answers] == [200] * 51
        assert answers[50].json()["version"] == 1
        versions = sorted(answer.json()["version"] for answer in answers[1:50:10])
        assert versions == [1, 2, 3, 4, 5]

    shop(scenario)


def test_a_database_that_is_down_is_a_503_with_retry_after() -> None:
    async def scenario(shop: Shop) -> None:
        def down() -> Any:
            raise StoreUnavailable("connection refused: secret-host")

        shop.store.transaction = down  # type: ignore[method-assign]
        for method, path, body in (
            ("GET", "/v1/products", None),
            ("GET", "/v1/carts/c-1", None),
            ("PUT", "/v1/carts/c-1", lines(mug=1)),
            ("POST", "/internal/v1/snapshots", {"carts": [{"cart_id": "c", "user_id": "u"}]}),
        ):
            caller = shop.gateway if path.startswith("/internal/") else shop.ada
            answer = await caller.ask(method, path, body)
            assert problem(answer) == (503, "dependency_unavailable", [])
            assert answer.headers["retry-after"] == "2"
            assert "secret-host" not in answer.text

    shop(scenario)


def test_a_bug_is_a_500_that_says_nothing_and_spoils_nobody_elses_edit() -> None:
    async def scenario(shop: Shop) -> None:
        sound = MemoryCartTransaction.read_prices

        def broken(tx: MemoryCartTransaction, skus: Any) -> Any:
            if "wein" in skus:
                raise KeyError("secret")
            return sound(tx, skus)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MemoryCartTransaction, "read_prices", broken)
            answers = await asyncio.gather(
                shop.ada.ask("PUT", "/v1/carts/c-1", lines(mug=1)),
                shop.ada.ask("PUT", "/v1/carts/c-2", lines(wein=1)),
                shop.ada.ask("PUT", "/v1/carts/c-3", lines(tea=1)),
            )
        assert [answer.status_code for answer in answers] == [200, 500, 200]
        assert problem(answers[1]) == (500, "internal_error", [])
        assert "secret" not in answers[1].text

    shop(scenario)


def test_wrong_methods_and_unknown_paths_are_problems_too() -> None:
    async def scenario(shop: Shop) -> None:
        wrong = await shop.ada.ask("POST", "/v1/carts/c-1")
        assert problem(wrong) == (405, "method_not_allowed", [])
        assert set(wrong.headers["allow"].split(", ")) == {"GET", "HEAD", "PUT"}
        assert problem(await shop.ada.ask("GET", "/v1/nothing")) == (404, "not_found", [])

    shop(scenario)


@pytest.mark.parametrize(
    ("method", "path", "pointer"),
    [
        ("GET", "/v1/carts/4111111111111111", "/cart_id"),
        ("PUT", "/v1/carts/my-4111-1111-1111-1111", "/cart_id"),
        ("PUT", "/v1/carts/c-1/lines/3782_822463_10005", "/sku"),
        ("DELETE", "/v1/carts/c-1/lines/4111111111111111", "/sku"),
        ("POST", "/v1/carts/4111.1111.1111.1111/hold", "/cart_id"),
        ("GET", "/v1/products?after=4111111111111111", "/after"),
    ],
)
def test_a_card_number_in_a_path_or_a_query_is_refused_and_not_echoed(
    method: str, path: str, pointer: str
) -> None:
    async def scenario(shop: Shop) -> None:
        before = repr(shop.store.tables.tables)
        who = shop.operator if path.endswith("hold") else shop.ada
        answer = await who.ask(method, path, {"quantity": 1} if method == "PUT" else None)
        assert problem(answer) == (422, "card_number_refused", [pointer])
        assert not any(digits in answer.text for digits in ("4111", "822463"))
        assert repr(shop.store.tables.tables) == before

    shop(scenario)
