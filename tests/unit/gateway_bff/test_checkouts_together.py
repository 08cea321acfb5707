"""POST /v1/checkouts by many at the same time: one group, one transaction, each with an answer of its own."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.callers import Caller, problem
from tests.unit.gateway_bff.gateway_harness import GatewayHarness, run_scenario

from holdfast.contracts.http_api import Snapshot
from holdfast.messaging.store import RowsUnavailable, StoreUnavailable
from holdfast.services.gateway_bff.domain import CheckoutRequest, StartResult


def test_a_hundred_requests_with_one_key_start_one_saga() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        answers = await asyncio.gather(*(harness.checkout() for _ in range(100)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.content for answer in answers}) == 1
        assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
        assert len(harness.published()) == 1

    run_scenario(scenario)


def test_keys_that_race_for_one_cart_have_one_winner_whom_the_others_are_told() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        answers = await asyncio.gather(*(harness.checkout(key=f"key-{n}") for n in range(20)))
        won = [answer for answer in answers if answer.status_code == 202]
        lost = [answer for answer in answers if answer.status_code == 409]
        assert (len(won), len(lost)) == (1, 19)
        assert {answer.json()["checkout"] for answer in lost} == {won[0].json()["saga_id"]}

    run_scenario(scenario)


def test_requests_at_the_same_time_share_one_snapshot_call_and_one_transaction() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        for n in range(40):
            harness.put_cart(f"c-{n}")
        answers = await asyncio.gather(*(harness.checkout(f"c-{n}", f"key-{n}") for n in range(40)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["saga_id"] for answer in answers}) == 40
        assert len(harness.upstreams.asked) <= 3
        assert len(harness.store.tables.tables["outbox"]) <= 3
        assert len(harness.published()) == 40

    run_scenario(scenario)


def test_a_request_that_breaks_its_transaction_spoils_nobody_elses() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        for n in range(5):
            harness.put_cart(f"c-{n}")
        harness.upstreams.carts["c-3", "ada"] = Snapshot(
            version=1,
            currency="GBP",
            total_minor=1,
            lines=(object(),),  # type: ignore[arg-type]
        )
        answers = await asyncio.gather(*(harness.checkout(f"c-{n}", f"key-{n}") for n in range(5)))
        assert [answer.status_code for answer in answers] == [202, 202, 202, 500, 202]
        assert problem(answers[3]) == (500, "internal_error", [])
        assert len(harness.published()) == 4

    run_scenario(scenario)


def test_a_commit_whose_answer_was_lost_is_found_by_its_key() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        sound = harness.parts.processor.commit

        def losing(work: Any, **more: Any) -> Any:
            sound(work, **more)
            raise StoreUnavailable("the connection was lost at commit")

        harness.parts.processor.commit = losing  # type: ignore[method-assign, assignment]
        answer = await harness.checkout()
        assert answer.status_code == 202
        assert list(harness.store.tables.tables["checkout"]) == [answer.json()["saga_id"]]
        assert len(harness.store.tables.tables["outbox"]) == 1

    run_scenario(scenario)


def test_a_database_that_is_down_is_a_503_and_nothing_is_started() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        def down() -> Any:
            raise StoreUnavailable("connection refused: secret-host")

        harness.store.transaction = down  # type: ignore[method-assign]
        answer = await harness.checkout()
        assert problem(answer) == (503, "dependency_unavailable", [])
        assert answer.headers["retry-after"]
        assert "secret-host" not in answer.text

    run_scenario(scenario)


def test_an_open_breaker_is_a_503_with_the_time_to_come_back_and_nothing_is_recorded() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        harness.retry_after_s = 3.2
        answer = await harness.checkout()
        assert problem(answer) == (503, "dependency_unavailable", [])
        assert answer.headers["retry-after"] == "4"
        assert not harness.store.tables.tables.get("checkout")
        assert not harness.upstreams.asked

    run_scenario(scenario)


def test_nothing_is_handed_on_for_somebody_without_a_token() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        stranger = Caller(harness.client, "x")
        for method, path in (("GET", "/v1/products"), ("PUT", "/v1/carts/c-1"), ("GET", "/v1/carts/c-1")):
            assert problem(await stranger.ask(method, path))[:2] == (401, "unauthenticated")
        assert harness.upstreams.forwarded == []
        assert (await harness.ada.ask("GET", "/v1/carts/c-1")).status_code == 200
        assert harness.upstreams.forwarded == ["/v1/carts/c-1"]

    run_scenario(scenario)


def test_a_row_that_another_gateway_holds_delays_its_own_checkout_and_starts_all_others() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        accept = harness.parts.starter.accept

        def held(group: Sequence[CheckoutRequest]) -> list[StartResult]:
            if any(wanted.cart_id == "c-7" for wanted in group):
                raise RowsUnavailable("as scripted: another gateway has inserted it and not committed")
            return accept(group)

        harness.parts.starter.accept = held  # type: ignore[method-assign]
        for n in range(1, 21):
            harness.put_cart(f"c-{n}")
        answers = await asyncio.gather(*(harness.checkout(f"c-{n}", f"key-{n}") for n in range(1, 21)))
        assert [n for n, answer in enumerate(answers, start=1) if answer.status_code != 202] == [7]
        assert problem(answers[6])[:2] == (503, "dependency_unavailable")

    run_scenario(scenario)
