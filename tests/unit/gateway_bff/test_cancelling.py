"""POST /v1/checkouts/{saga_id}/cancel: before the pivot it goes back, after it never; words that are true."""

import pytest
from tests.callers import problem
from tests.unit.gateway_bff.gateway_harness import GatewayHarness, run_scenario
from tests.unit.gateway_bff.test_status import saga

from holdfast.contracts.http_api import Cancellation, SagaView

BACK = ("CancellationRequested", "COMPENSATING")
WHY = "cancelled_by_shopper"


async def _started(harness: GatewayHarness, told: SagaView | None = None, *, cancelled: bool = True) -> str:
    """Start a checkout whose saga the orchestrator would tell like this."""
    saga_id = await harness.started()
    if told is not None:
        harness.upstreams.cancellations[saga_id] = Cancellation(cancelled, told)
    return saga_id


@pytest.mark.parametrize(
    ("reached", "owed", "held", "said"),
    [
        ("INVENTORY_RESERVATION_PENDING", ("inventory",), False, "Your reservation is being released."),
        (
            "PAYMENT_PROCESSING_PENDING",
            ("payment", "inventory"),
            True,
            "Any payment is being refunded.",
        ),
        (
            "ORDER_CREATION_PENDING",
            ("order", "payment", "inventory"),
            True,
            "Your payment is being refunded.",
        ),
    ],
)
def test_before_the_pivot_it_goes_back_and_the_shopper_reads_what_becomes_of_the_money(
    reached: str, owed: tuple[str, ...], held: bool, said: str
) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await _started(harness, saga("", reached, BACK, owed=owed, reason=WHY))
        answer = await harness.ada.ask("POST", f"/v1/checkouts/{saga_id}/cancel")
        told = answer.json()
        assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/checkouts/{saga_id}")
        assert (told["state"], told["reason"], told["money_held"]) == ("COMPENSATING", WHY, held)
        assert told["message"] == f"You cancelled this checkout. {said}"
        assert harness.upstreams.cancelled == [saga_id]

    run_scenario(scenario)


def test_what_was_never_begun_is_over_at_once_and_nothing_was_charged() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        not_started = SagaView("", "FAILED", 1, WHY)
        saga_id = await _started(harness, not_started)
        answer = await harness.ada.ask("POST", f"/v1/checkouts/{saga_id}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (202, "FAILED")
        assert answer.json()["message"] == "You cancelled this checkout. You were not charged."

    run_scenario(scenario)


@pytest.mark.parametrize("state", ["CART_CLEARANCE_PENDING", "COMPLETED"])
def test_from_the_pivot_on_it_is_a_conflict_that_says_how_it_stands(state: str) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await _started(harness, saga("", state), cancelled=False)
        answer = await harness.ada.ask("POST", f"/v1/checkouts/{saga_id}/cancel")
        assert problem(answer) == (409, "not_cancellable", [])
        assert answer.json()["state"] == state

    run_scenario(scenario)


def test_what_has_ended_is_answered_from_the_row() -> None:
    """Paid and placed: a conflict. Failed, by an earlier cancellation say: how it stands, again and again."""

    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await _started(harness)
        harness.complete(saga_id)
        answer = await harness.ada.ask("POST", f"/v1/checkouts/{saga_id}/cancel")
        assert problem(answer) == (409, "not_cancellable", [])
        harness.put_cart("c-2")
        other = await harness.started("c-2", "key-2")
        harness.fail(other, WHY)
        for _ in range(2):
            answer = await harness.ada.ask("POST", f"/v1/checkouts/{other}/cancel")
            assert (answer.status_code, answer.json()["state"]) == (200, "FAILED")
            assert "secret words" not in answer.text
        assert harness.upstreams.cancelled == []

    run_scenario(scenario)


def test_the_gateways_row_learns_the_end_by_the_event_alone() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await _started(
            harness, saga("", "INVENTORY_RESERVATION_PENDING", BACK, owed=("inventory",))
        )
        await harness.ada.ask("POST", f"/v1/checkouts/{saga_id}/cancel")
        row, _ = harness.store.tables.tables["checkout"][saga_id]
        assert row.status == "CHECKOUT_INITIATED"
        harness.fail(saga_id, WHY)
        row, _ = harness.store.tables.tables["checkout"][saga_id]
        assert (row.status, row.reason) == ("FAILED", WHY)
        assert await harness.started("c-1", "key-2") != saga_id, "its cart is free again"

    run_scenario(scenario)


@pytest.mark.parametrize("path", ["{}", "nonsense", "00000000-0000-7000-8000-000000000000"])
def test_somebody_elses_and_none_look_alike_and_nobody_is_asked(path: str) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await _started(harness)
        answer = await harness.eve.ask("POST", f"/v1/checkouts/{path.format(saga_id)}/cancel")
        assert problem(answer) == (404, "not_found", [])
        assert harness.upstreams.cancelled == []

    run_scenario(scenario)


def test_without_a_token_nothing_is_cancelled() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await _started(harness)
        answer = await harness.client.post(f"/v1/checkouts/{saga_id}/cancel")
        assert problem(answer)[:2] == (401, "unauthenticated")

    run_scenario(scenario)


def test_with_the_orchestrator_down_it_is_a_503_that_says_when_to_come_back() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await _started(harness)
        harness.upstreams.orchestrator_is_down = True
        answer = await harness.ada.ask("POST", f"/v1/checkouts/{saga_id}/cancel")
        assert problem(answer) == (503, "dependency_unavailable", [])
        assert int(answer.headers["retry-after"]) > 0

    run_scenario(scenario)
