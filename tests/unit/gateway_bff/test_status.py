"""GET /v1/checkouts/{saga_id}: how it stands, to its owner alone, waiting where asked, true in every word."""

import asyncio

import pytest
from tests.callers import problem
from tests.unit.gateway_bff.gateway_harness import NOW_MS, GatewayHarness, run_scenario

from holdfast.contracts.http_api import SagaEvent, SagaView

EVENT_OF_STATES = {
    "INVENTORY_RESERVATION_PENDING": (
        "CheckoutInitiated",
        ("CHECKOUT_INITIATED", "INVENTORY_RESERVATION_PENDING"),
    ),
    "PAYMENT_PROCESSING_PENDING": ("InventoryReserved", ("INVENTORY_RESERVED", "PAYMENT_PROCESSING_PENDING")),
    "ORDER_CREATION_PENDING": ("PaymentProcessed", ("PAYMENT_PROCESSED", "ORDER_CREATION_PENDING")),
    "CART_CLEARANCE_PENDING": ("OrderCreated", ("ORDER_CREATED", "CART_CLEARANCE_PENDING")),
    "COMPLETED": ("CartCleared", ("COMPLETED",)),
}
FORWARD = list(EVENT_OF_STATES)


def saga(
    saga_id: str, state: str, *back: tuple[str, str], owed: tuple[str, ...] = (), reason: str = ""
) -> SagaView:
    """A saga that went forward to `state`, then the events of `back` (kind, state that it led to, if any)."""
    reached = FORWARD[: FORWARD.index(state) + 1]
    events = [SagaEvent(*EVENT_OF_STATES[each], NOW_MS + 10 * n) for n, each in enumerate(reached, 1)]
    for kind, path in back:
        events.append(SagaEvent(kind, (path,) if path else (), events[-1].at_ms + 10))
        state = path or state
    results: dict[str, dict[str, object]] = {"order": {"order_id": "order-7"}} if state == "COMPLETED" else {}
    return SagaView(saga_id, state, len(events), reason, 0, owed, results, tuple(events))


def test_a_checkout_just_accepted_is_told_from_the_gateways_row() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        told = (await harness.ada.ask("GET", f"/v1/checkouts/{saga_id}")).json()
        assert (told["saga_id"], told["state"]) == (saga_id, "CHECKOUT_INITIATED")
        assert (told["cart_id"], told["total_minor"], told["currency"]) == ("c-1", 1000, "GBP")
        assert (told["money_held"], told["stale"], told["stalled"]) == (False, False, False)
        assert (told["order_id"], told["reason"], told["created_ms"]) == (None, None, NOW_MS)

    run_scenario(scenario)


@pytest.mark.parametrize("path", ["{}", "{}0", "nonsense", "00000000-0000-7000-8000-000000000000", "%00"])
def test_somebody_elses_checkout_and_none_look_alike(path: str) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        answer = await harness.eve.ask("GET", f"/v1/checkouts/{path.format(saga_id)}")
        assert problem(answer) == (404, "not_found", [])
        assert saga_id not in answer.json()["detail"]

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("state", "held", "states"),
    [
        ("INVENTORY_RESERVATION_PENDING", False, ["pending", "waiting", "waiting", "waiting"]),
        ("PAYMENT_PROCESSING_PENDING", True, ["done", "pending", "waiting", "waiting"]),
        ("ORDER_CREATION_PENDING", True, ["done", "done", "pending", "waiting"]),
        ("CART_CLEARANCE_PENDING", True, ["done", "done", "done", "pending"]),
        ("COMPLETED", False, ["done", "done", "done", "done"]),
    ],
)
def test_under_way_the_orchestrator_tells_steps_times_and_money(
    state: str, held: bool, states: list[str]
) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        harness.upstreams.told[saga_id] = saga(saga_id, state)
        told = (await harness.ada.ask("GET", f"/v1/checkouts/{saga_id}")).json()
        assert (told["state"], told["money_held"]) == (state, held)
        assert [step["name"] for step in told["steps"]] == ["inventory", "payment", "order", "cart"]
        assert [step["state"] for step in told["steps"]] == states
        for n, step in enumerate(told["steps"], 1):
            assert step["started_ms"] == (0 if step["state"] == "waiting" else NOW_MS + 10 * n)
            assert step["finished_ms"] == (NOW_MS + 10 * (n + 1) if step["state"] == "done" else 0)
        if state == "COMPLETED":
            assert told["order_id"] == "order-7"
            assert "order-7 is paid" in told["message"]

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("reached", "back", "owed", "reason", "held", "said", "steps"),
    [
        (
            "ORDER_CREATION_PENDING",
            [("OrderCreationFailed", "COMPENSATING")],
            ("payment", "inventory"),
            "order_total_above_limit",
            True,
            "Your payment is being refunded.",
            ["undoing", "undoing", "failed", "waiting"],
        ),
        (
            "PAYMENT_PROCESSING_PENDING",
            [("DeadlinePassed", "COMPENSATING")],
            ("payment", "inventory"),
            "deadline",
            True,
            "Any payment is being refunded.",
            ["undoing", "undoing", "waiting", "waiting"],
        ),
        (
            "PAYMENT_PROCESSING_PENDING",
            [("PaymentFailed", "COMPENSATING")],
            ("inventory",),
            "payment_declined",
            False,
            "Your reservation is being released.",
            ["undoing", "failed", "waiting", "waiting"],
        ),
        (
            "ORDER_CREATION_PENDING",
            [("OrderCreationFailed", "COMPENSATING"), ("PaymentCompensated", "")],
            ("inventory",),
            "order_total_above_limit",
            False,
            "Your reservation is being released.",
            ["undoing", "undone", "failed", "waiting"],
        ),
    ],
)
def test_on_the_way_back_the_shopper_reads_what_becomes_of_the_money(
    reached: str,
    back: list[tuple[str, str]],
    owed: tuple[str, ...],
    reason: str,
    held: bool,
    said: str,
    steps: list[str],
) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        harness.upstreams.told[saga_id] = saga(saga_id, reached, *back, owed=owed, reason=reason)
        told = (await harness.ada.ask("GET", f"/v1/checkouts/{saga_id}")).json()
        assert (told["state"], told["money_held"], told["reason"]) == ("COMPENSATING", held, reason)
        assert told["message"].endswith(said)
        assert [step["state"] for step in told["steps"]] == steps

    run_scenario(scenario)


NOT_CHARGED = "You were not charged."
IN_THE_END = "othing was charged in the end."


@pytest.mark.parametrize(
    ("reason", "reached", "back", "said"),
    [
        (
            "out_of_stock",
            "INVENTORY_RESERVATION_PENDING",
            [("InventoryReservationFailed", "FAILED")],
            NOT_CHARGED,
        ),
        ("payment_declined", "PAYMENT_PROCESSING_PENDING", [("PaymentFailed", "COMPENSATING")], NOT_CHARGED),
        ("deadline", "INVENTORY_RESERVATION_PENDING", [("DeadlinePassed", "COMPENSATING")], NOT_CHARGED),
        ("deadline", "PAYMENT_PROCESSING_PENDING", [("DeadlinePassed", "COMPENSATING")], IN_THE_END),
        ("cart_on_hold", "CART_CLEARANCE_PENDING", [("CartClearanceFailed", "COMPENSATING")], IN_THE_END),
        (
            "order_total_above_limit",
            "ORDER_CREATION_PENDING",
            [("OrderCreationFailed", "COMPENSATING")],
            IN_THE_END,
        ),
    ],
)
@pytest.mark.parametrize("orchestrator_is_down", [False, True])
def test_a_failed_checkout_says_that_nothing_was_charged_in_words_that_are_true(
    reason: str, reached: str, back: list[tuple[str, str]], said: str, orchestrator_is_down: bool
) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        harness.upstreams.told[saga_id] = saga(saga_id, reached, *back, reason=reason)
        harness.upstreams.orchestrator_is_down = orchestrator_is_down
        harness.fail(saga_id, reason)
        told = (await harness.ada.ask("GET", f"/v1/checkouts/{saga_id}")).json()
        assert (told["state"], told["reason"], told["money_held"]) == ("FAILED", reason, False)
        assert told["stale"] is False
        certain = orchestrator_is_down and reason == "deadline"
        assert told["message"].endswith(IN_THE_END if certain else said)

    run_scenario(scenario)


def test_an_operators_words_are_not_shown_to_a_shopper() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        harness.fail(saga_id, "cart_on_hold")
        answer = await harness.ada.ask("GET", f"/v1/checkouts/{saga_id}")
        assert "secret words" not in answer.text

    run_scenario(scenario)


def test_with_the_orchestrator_down_the_last_that_is_known_is_told_and_marked() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        harness.upstreams.orchestrator_is_down = True
        told = (await harness.ada.ask("GET", f"/v1/checkouts/{saga_id}")).json()
        assert (told["state"], told["stale"]) == ("CHECKOUT_INITIATED", True)
        assert told["money_held"] is True, "it may be: nobody can say"
        assert "cannot be read just now" in told["message"]
        harness.complete(saga_id)
        told = (await harness.ada.ask("GET", f"/v1/checkouts/{saga_id}")).json()
        assert (told["state"], told["stale"], told["order_id"]) == ("COMPLETED", False, "order-1")

    run_scenario(scenario)


def test_an_older_or_repeated_end_changes_nothing_and_an_unknown_one_is_parked() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        harness.complete(saga_id, saga_version=9)
        harness.fail(saga_id, saga_version=8)
        harness.complete(saga_id, saga_version=9)
        told = (await harness.ada.ask("GET", f"/v1/checkouts/{saga_id}")).json()
        assert (told["state"], told["reason"]) == ("COMPLETED", None)
        parked = harness.store.tables.tables["parked"].values
        assert [row.reason for row in parked()] == ["contradicts_record"], "an end is an end"
        harness.complete("00000000-0000-7000-8000-000000000000")
        assert {row.reason for row in parked()} == {"contradicts_record", "unknown_checkout"}

    run_scenario(scenario)


def test_prefer_wait_holds_the_answer_until_the_end_is_written() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        asking = asyncio.create_task(
            harness.ada.ask("GET", f"/v1/checkouts/{saga_id}", headers={"prefer": "respond-async, wait=25"})
        )
        others = [
            asyncio.create_task(
                harness.ada.ask("GET", f"/v1/checkouts/{saga_id}", headers={"prefer": "wait=25"})
            )
            for _ in range(10)
        ]
        assert (await harness.ada.ask("GET", f"/v1/checkouts/{saga_id}")).json()[
            "state"
        ] == "CHECKOUT_INITIATED"
        assert not asking.done()
        await asyncio.to_thread(harness.complete, saga_id)
        answers = await asyncio.wait_for(asyncio.gather(asking, *others), 10)
        assert {answer.json()["state"] for answer in answers} == {"COMPLETED"}
        assert answers[0].headers["preference-applied"] == "wait=25"

    run_scenario(scenario)


def test_a_wait_for_what_another_instance_writes_ends_too() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        harness.parts.manager.after_batch.clear()
        saga_id = await harness.started()
        asking = asyncio.create_task(
            harness.ada.ask("GET", f"/v1/checkouts/{saga_id}", headers={"prefer": "wait=25"})
        )
        await asyncio.to_thread(harness.complete, saga_id)
        assert (await asyncio.wait_for(asking, 10)).json()["state"] == "COMPLETED"

    run_scenario(scenario)


def test_a_wait_ends_in_time_and_ended_checkouts_do_not_wait() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        clock = asyncio.get_running_loop().time
        begun = clock()
        waited = await harness.ada.ask("GET", f"/v1/checkouts/{saga_id}", headers={"prefer": "wait=1"})
        assert (waited.json()["state"], waited.headers["preference-applied"]) == (
            "CHECKOUT_INITIATED",
            "wait=1",
        )
        assert 0.9 < clock() - begun < 10
        harness.complete(saga_id)
        capped = await harness.ada.ask("GET", f"/v1/checkouts/{saga_id}", headers={"prefer": "wait=999"})
        assert capped.headers["preference-applied"] == "wait=30"
        assert capped.json()["state"] == "COMPLETED"
        ignored = await harness.ada.ask("GET", f"/v1/checkouts/{saga_id}", headers={"prefer": "wait=soon"})
        assert "preference-applied" not in ignored.headers

    run_scenario(scenario)
