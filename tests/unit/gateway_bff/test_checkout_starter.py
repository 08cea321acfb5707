"""POST /v1/checkouts: one key one saga, one cart one checkout, prices from the server, nothing lost."""

import asyncio
from uuid import UUID

import pytest
from tests.callers import problem
from tests.unit.gateway_bff.gateway_harness import NOW_MS, GatewayHarness, run_scenario

from holdfast.contracts.codec import decode
from holdfast.contracts.http_api import Snapshot
from holdfast.contracts.messages import CheckoutInitiated, Line

WEEK_MS = 7 * 86_400_000


def test_a_checkout_is_accepted_and_its_saga_started_with_the_servers_snapshot() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        answer = await harness.checkout()
        assert answer.status_code == 202
        saga_id = answer.json()["saga_id"]
        assert answer.json() == {"saga_id": saga_id, "status": "CHECKOUT_INITIATED"}
        assert answer.headers["location"] == f"/v1/checkouts/{saga_id}"
        assert "idempotency-replayed" not in answer.headers
        assert UUID(saga_id).version == 7
        assert UUID(saga_id).int >> 80 == NOW_MS
        ((message_id, value, _),) = harness.published()
        assert message_id == f"{saga_id}:initiated"
        assert decode("CheckoutInitiated", value) == CheckoutInitiated(
            user_id="ada",
            cart_id="c-1",
            cart_version=1,
            payment_method="pm_card_visa",
            currency="GBP",
            total_minor=1000,
            lines=(Line("mug", 2, 500),),
            not_after_ms=NOW_MS + WEEK_MS,
        )

    run_scenario(scenario)


def test_the_same_key_and_body_get_the_same_answer_and_start_nothing_new() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        first = await harness.checkout()
        spaced = b'{ "payment_method" : "pm_card_visa", "cart_id":"c-1","expected_total_minor":null }'
        again = await harness.ada.ask(
            "POST", "/v1/checkouts", raw=spaced, headers={"idempotency-key": "key-1"}
        )
        assert (again.status_code, again.content) == (202, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["location"] == first.headers["location"]
        assert len(harness.published()) == 1

    run_scenario(scenario)


def test_a_known_key_is_answered_whatever_is_down_and_however_it_ended() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        first = await harness.checkout()
        harness.complete(first.json()["saga_id"])
        harness.upstreams.carts.clear()
        harness.upstreams.cart_is_down = True
        harness.retry_after_s = 60.0
        again, new = await asyncio.gather(harness.checkout(), harness.checkout(key="key-2"))
        assert (again.status_code, again.content) == (202, first.content)
        assert problem(new) == (503, "dependency_unavailable", [])
        harness.retry_after_s = 0.0
        again, new = await asyncio.gather(harness.checkout(), harness.checkout(key="key-2"))
        assert (again.status_code, again.content) == (202, first.content)
        assert problem(new) == (503, "dependency_unavailable", [])
        assert new.headers["retry-after"]

    run_scenario(scenario)


def test_the_same_key_with_another_body_is_refused() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        await harness.started()
        for more in ({"card": "pm_card_mastercard"}, {"expected_total_minor": 1000}, {"cart_id": "c-2"}):
            answer = await harness.checkout(**more)
            assert problem(answer) == (422, "idempotency_key_reused", [])
        assert len(harness.published()) == 1

    run_scenario(scenario)


def test_a_key_belongs_to_its_user() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        harness.put_cart("c-2", user="eve")
        hers = await harness.checkout("c-2", by=harness.eve)
        assert hers.status_code == 202
        assert hers.json()["saga_id"] != saga_id

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, "idempotency_key_missing"),
        ("", "idempotency_key_invalid"),
        ("k" * 256, "idempotency_key_invalid"),
        ("k\tk", "idempotency_key_invalid"),
    ],
)
def test_a_key_is_needed_and_has_a_form(key: str | None, code: str) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        assert problem(await harness.checkout(key=key)) == (400, code, [])
        assert (await harness.checkout(key="k" * 255)).status_code == 202

    run_scenario(scenario)


def test_a_cart_in_checkout_is_a_conflict_that_names_the_checkout_to_its_owner() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        harness.put_cart(version=2)
        answer = await harness.checkout(key="key-2")
        assert problem(answer) == (409, "cart_in_checkout", [])
        assert answer.json()["checkout"] == saga_id
        assert saga_id in answer.json()["detail"]
        assert f"/v1/checkouts/{saga_id}" in answer.headers["link"]

    run_scenario(scenario)


def test_two_users_buy_carts_of_the_same_id_side_by_side() -> None:
    """Open, bought, bought again: no state of ada's checkout shows in what eve is answered."""

    async def scenario(harness: GatewayHarness) -> None:
        harness.put_cart(user="eve")
        ada = await harness.started()
        eve = await harness.started(by=harness.eve)
        assert ada != eve
        again = await harness.checkout(key="key-2", by=harness.eve)
        assert (problem(again)[1], again.json()["checkout"]) == ("cart_in_checkout", eve)
        harness.complete(ada, version_left=7)
        harness.fail(eve)
        second = await harness.started(key="key-3", by=harness.eve)
        assert second != eve, "the version that ada's cart was left at says nothing of eve's"
        harness.complete(second)
        bought = await harness.checkout(key="key-4", by=harness.eve)
        assert (problem(bought)[1], bought.json()["checkout"]) == ("cart_bought", second)

    run_scenario(scenario)


def test_a_cart_version_is_bought_once_and_a_failed_checkout_frees_it() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        failed = await harness.started()
        harness.fail(failed)
        bought = await harness.started(key="key-2")
        harness.complete(bought, version_left=1)
        answer = await harness.checkout(key="key-3")
        assert problem(answer) == (409, "cart_bought", [])
        assert answer.json()["checkout"] == bought
        harness.put_cart(version=2)
        assert (await harness.checkout(key="key-4")).status_code == 202

    run_scenario(scenario)


def test_a_snapshot_older_than_what_the_last_checkout_left_is_taken_anew() -> None:
    """The shopper adds to a cart in checkout; the snapshot is taken, and only then the clearing heard of."""

    async def scenario(harness: GatewayHarness) -> None:
        first = await harness.started()
        harness.put_cart(version=2, pieces=5)

        def cleared_meanwhile() -> None:
            harness.upstreams.before_answer = lambda: None
            harness.complete(first, version_left=3)
            harness.put_cart(version=3, pieces=3)

        harness.upstreams.before_answer = cleared_meanwhile
        second = await harness.started(key="key-2")
        assert len(harness.upstreams.asked) == 3
        initiated = {
            message_id: decode("CheckoutInitiated", value) for message_id, value, _ in harness.published()
        }
        assert initiated[f"{second}:initiated"].total_minor == 1500  # type: ignore[attr-defined]

    run_scenario(scenario)


def test_a_snapshot_that_stays_old_starts_nothing() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        first = await harness.started()
        harness.complete(first, version_left=5)
        harness.put_cart(version=4)
        answer = await harness.checkout(key="key-2")
        assert problem(answer) == (409, "cart_is_changing", [])
        assert len(harness.published()) == 1
        assert len(harness.store.tables.tables["checkout"]) == 1

    run_scenario(scenario)


def test_another_total_than_expected_starts_nothing_and_says_the_new_one() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        answer = await harness.checkout(expected_total_minor=999)
        assert problem(answer) == (409, "total_differs", [])
        assert answer.json()["total_minor"] == 1000
        assert not harness.published()
        assert (await harness.checkout(expected_total_minor=1000)).status_code == 202

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("snapshot", "status", "code"),
    [
        (Snapshot(refused="missing"), 404, "not_found"),
        (Snapshot(refused="empty", version=1), 422, "cart_empty"),
        (Snapshot(refused="mixed_currency", version=1), 422, "mixed_currency"),
        (Snapshot(refused="unknown_product", version=1), 422, "cart_not_buyable"),
        (
            Snapshot(version=1, currency="GBP", total_minor=0, lines=(Line("a", 1, 0),)),
            422,
            "cart_not_buyable",
        ),
        (
            Snapshot(version=1, currency="GBP", total_minor=2**53, lines=(Line("a", 1, 1),)),
            422,
            "cart_not_buyable",
        ),
    ],
)
def test_what_cannot_be_bought_starts_nothing(snapshot: Snapshot, status: int, code: str) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        harness.upstreams.carts["c-1", "ada"] = snapshot
        assert problem(await harness.checkout()) == (status, code, [])
        assert not harness.published()

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("body", "status", "code", "pointers"),
    [
        (b"", 400, "malformed_json", []),
        (b'{"cart_id": "c-1", "payment_method": NaN}', 400, "malformed_json", []),
        (b'{"cart_id": "c-1"}', 422, "invalid_request", ["/payment_method"]),
        (b'{"cart_id": 7, "payment_method": "pm"}', 422, "invalid_request", ["/cart_id"]),
        (b'{"cart_id": "a\\u0000", "payment_method": "pm"}', 422, "invalid_request", ["/cart_id"]),
        (
            b'{"cart_id": "c-1", "payment_method": "pm", "total_minor": 1}',
            422,
            "invalid_request",
            ["/total_minor"],
        ),
        (b'{"cart_id": "c-1", "payment_method": "pm", "user_id": "x"}', 422, "invalid_request", ["/user_id"]),
        (
            b'{"cart_id": "c-1", "payment_method": "pm", "expected_total_minor": 10.0}',
            422,
            "invalid_request",
            ["/expected_total_minor"],
        ),
        (
            b'{"cart_id": "c-1", "payment_method": "pm", "expected_total_minor": true}',
            422,
            "invalid_request",
            ["/expected_total_minor"],
        ),
        (
            b'{"cart_id": "c-1", "payment_method": "4111111111111111"}',
            422,
            "card_number_refused",
            ["/payment_method"],
        ),
        (
            b'{"cart_id": "c-1", "payment_method": "card4111111111111111x"}',
            422,
            "card_number_refused",
            ["/payment_method"],
        ),
        (b'{"cart_id": "c-9", "payment_method": "pm", "cart_id": "c-1"}', 400, "malformed_json", []),
        (
            b'{"cart_id": "c-1", "payment_method": "pm", "x": "4111 1111 1111 1111"}',
            422,
            "card_number_refused",
            ["/x"],
        ),
        (b'{"cart_id": "' + b"c" * 70_000 + b'"}', 413, "body_too_large", []),
    ],
)
def test_a_wrong_body_is_refused_by_pointer_and_never_echoed(
    body: bytes, status: int, code: str, pointers: list[str]
) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        answer = await harness.ada.ask(
            "POST", "/v1/checkouts", raw=body, headers={"idempotency-key": "key-1"}
        )
        assert problem(answer) == (status, code, pointers)
        assert "4111" not in answer.text
        assert not harness.published()

    run_scenario(scenario)


@pytest.mark.parametrize("key", ["4111111111111111", "order 4111-1111-1111-1111", "4111 1111_1111.1111 x"])
def test_a_card_number_in_the_idempotency_key_is_refused_and_kept_nowhere(key: str) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        answer = await harness.checkout(key=key)
        assert problem(answer) == (422, "card_number_refused", ["/Idempotency-Key"])
        assert "4111" not in answer.text
        assert not harness.published()
        assert "4111" not in repr(harness.store.tables.tables)

    run_scenario(scenario)
