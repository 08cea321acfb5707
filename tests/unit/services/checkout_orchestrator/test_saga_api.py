"""The orchestrator's HTTP API: operators show, resume and cancel a saga; the gateway cancels for shoppers."""

import pytest
from tests.callers import Caller, problem
from tests.samples import saga_id
from tests.unit.services.checkout_orchestrator.orchestrator_harness import (
    MINUTE_MS,
    PIECES,
    OrchestratorHarness,
    run_scenario,
)

from holdfast.messaging.store import StoreUnavailable

SAGA = saga_id(1)
STATES = (
    "INVENTORY_RESERVATION_PENDING",
    "PAYMENT_PROCESSING_PENDING",
    "ORDER_CREATION_PENDING",
    "CART_CLEARANCE_PENDING",
)


@pytest.mark.parametrize("reached", [0, 1, 2])
@pytest.mark.parametrize("by_the_shopper", [True, False])
def test_a_saga_is_cancelled_before_its_pivot_and_everything_is_given_back(
    reached: int, by_the_shopper: bool
) -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(reached)
        assert harness.platform.state(SAGA) == STATES[reached]
        if by_the_shopper:
            answer = await harness.cancel(SAGA)
            assert (answer.status_code, answer.json()["cancelled"]) == (200, True)
            assert answer.json()["saga"]["state"] == "COMPENSATING"
        else:
            answer = await harness.act(SAGA, "cancel")
            undos = ["CompensateOrder", "CompensatePayment", "CompensateInventory"][2 - reached :]
            assert (answer.status_code, answer.json()["sent"]) == (202, undos)
        harness.platform.settle()
        assert harness.platform.state(SAGA) == "FAILED"
        assert harness.platform.stock("A") == (1_000, 0, 0)
        assert harness.platform.provider.charges == harness.platform.provider.refunds
        whole = await harness.shown(SAGA)
        reason = "cancelled_by_shopper" if by_the_shopper else "cancelled_by_operator"
        assert whole["saga"]["reason"] == reason
        done = [] if by_the_shopper else [("olga", "cancel_saga", SAGA, "at 3 a.m.")]
        assert harness.actions() == done

    run_scenario(scenario)


@pytest.mark.parametrize("reached", [3, 4])
def test_line_9_from_the_pivot_on_a_cancellation_is_refused(reached: int) -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(reached)
        before = harness.platform.state(SAGA)
        told = (await harness.cancel(SAGA)).json()
        assert (told["cancelled"], told["saga"]["state"]) == (False, before)
        code = "past_the_pivot" if reached == 3 else "saga_ended"
        answer = await harness.act(SAGA, "cancel")
        assert problem(answer) == (409, code, [])
        assert answer.json()["state"] == before
        harness.platform.settle()
        assert harness.platform.state(SAGA) == "COMPLETED"
        assert harness.actions() == []

    run_scenario(scenario)


def test_a_cancellation_repeated_says_the_same_and_adds_nothing() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(1)
        first, second = await harness.cancel(SAGA), await harness.cancel(SAGA)
        assert first.json() == second.json()
        again = await harness.act(SAGA, "cancel")
        assert (again.status_code, again.json()["sent"]) == (202, [])
        harness.platform.settle()
        assert (await harness.cancel(SAGA)).json()["cancelled"] is True
        assert problem(await harness.act(SAGA, "cancel")) == (409, "saga_ended", [])
        assert harness.actions() == []

    run_scenario(scenario)


def test_line_8_a_shopper_may_cancel_before_the_start_and_the_start_does_nothing() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        told = (await harness.cancel(SAGA)).json()
        assert (told["cancelled"], told["saga"]["state"]) == (True, "FAILED")
        harness.buy(SAGA)
        harness.platform.settle()
        assert harness.platform.state(SAGA) == "FAILED"
        assert harness.platform.stock("A") == (1_000, 0, 0)
        whole = await harness.shown(SAGA)
        assert (whole["checkout"], whole["saga"]["owed"]["steps"]) == (None, [])
        assert [(e["kind"], e["sent"]) for e in whole["history"]] == [
            ("CancellationRequested", ["CheckoutFailed"])
        ]

    run_scenario(scenario)


def test_nobody_cancels_what_is_somebody_elses_or_without_a_token_that_allows_it() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(1)
        assert problem(await harness.cancel(SAGA, user="eve"))[:2] == (404, "not_found")
        for caller in (Caller(harness.client, ""), harness.ada, harness.olga):
            assert problem(await harness.cancel(SAGA, by=caller))[:2] == (401, "unauthenticated")
            assert problem(await harness.cancel(saga_id(9), by=caller))[:2] == (401, "unauthenticated")
        assert problem(await harness.act(SAGA, "cancel", by=harness.gateway))[:2] == (401, "unauthenticated")
        assert problem(await harness.cancel("nonsense")) == (422, "invalid_request", ["/saga_id"])
        assert problem(await harness.act(saga_id(9), "cancel"))[:2] == (404, "not_found")
        assert problem(await harness.act(SAGA, "cancel", by=harness.ada))[:2] == (403, "forbidden")
        assert problem(await harness.act(SAGA, "resume", by=harness.ada))[:2] == (403, "forbidden")
        for path in ("/v1/sagas", f"/v1/sagas/{SAGA}"):
            assert problem(await harness.ask(harness.ada, "GET", path))[:2] == (403, "forbidden")
        assert harness.platform.state(SAGA) == "PAYMENT_PROCESSING_PENDING"
        assert harness.platform.sagas.tables.tables["saga"].keys() == {SAGA}

    run_scenario(scenario)


def test_the_gateway_is_told_of_a_saga_only_for_the_user_whose_it_is() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(1)
        assert (await harness.told(SAGA))["saga_id"] == SAGA
        assert await harness.told(SAGA, "eve") is None
        assert await harness.told(saga_id(9)) is None
        assert (await harness.cancel(saga_id(2))).json()["cancelled"] is True
        assert (await harness.told(saga_id(2)))["reason"] == "cancelled_by_shopper"

    run_scenario(scenario)


def test_a_saga_that_has_ended_and_been_pruned_is_not_brought_back_by_a_cancellation() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        with harness.platform.sagas.transaction() as tx:
            tx.note_pruned("saga", saga_id(5), 1)
        assert problem(await harness.cancel(saga_id(4)))[:2] == (404, "not_found")
        assert (await harness.cancel(saga_id(6))).json()["cancelled"] is True
        assert harness.platform.sagas.tables.tables["saga"].keys() == {saga_id(6)}

    run_scenario(scenario)


@pytest.mark.parametrize("verb", ["cancel", "resume"])
def test_an_act_needs_a_reason(verb: str) -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(1)
        answer = await harness.ask(harness.olga, "POST", f"/v1/sagas/{SAGA}/{verb}", {"reason": " "})
        assert problem(answer) == (422, "invalid_request", ["/reason"])

    run_scenario(scenario)


def test_a_resumed_saga_sends_at_once_what_it_waits_for() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(1)
        before = await harness.shown(SAGA)
        answer = await harness.act(SAGA, "resume")
        assert (answer.status_code, answer.json()) == (
            202,
            {"saga_id": SAGA, "state": "PAYMENT_PROCESSING_PENDING", "sent": ["ProcessPayment"]},
        )
        after = await harness.shown(SAGA)
        assert [each["fired"] for each in before["awaited"] + after["awaited"]] == [0, 1]
        assert after["actions"][0] | {"at_ms": 0} == {
            "at_ms": 0,
            "operator": "olga",
            "action": "resume_saga",
            "reason": "at 3 a.m.",
        }
        harness.platform.settle()
        assert harness.platform.state(SAGA) == "COMPLETED"
        assert problem(await harness.act(SAGA, "resume")) == (409, "saga_ended", [])
        assert problem(await harness.act(saga_id(9), "resume"))[:2] == (404, "not_found")

    run_scenario(scenario)


def test_resuming_often_never_makes_silence_overdue() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(0)
        for _ in range(5):
            harness.platform.advance(20_000)
            await harness.act(SAGA, "resume")
        harness.platform.advance(500)
        harness.platform.orchestrator.manager.run_once(0)
        assert harness.platform.state(SAGA) == "INVENTORY_RESERVATION_PENDING"

    run_scenario(scenario)


def test_a_stalled_saga_is_resumed_undo_by_undo_and_a_lost_deadline_is_made_anew() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(2)
        await harness.act(SAGA, "cancel")
        harness.platform.sagas.tables.tables["timers"].clear()
        answer = await harness.act(SAGA, "resume")
        undos = ["CompensateOrder", "CompensatePayment", "CompensateInventory"]
        assert answer.json()["sent"] == undos
        assert [each["command"] for each in (await harness.shown(SAGA))["awaited"]] == sorted(
            undos, key=lambda kind: ["Inventory", "Order", "Payment"].index(kind[10:])
        )
        harness.platform.settle()
        assert harness.platform.state(SAGA) == "FAILED"

    run_scenario(scenario)


def test_a_lost_deadline_that_has_fired_before_is_made_anew_as_often_as_needed() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(0)
        for _ in range(2):
            harness.platform.now_ms += MINUTE_MS
            harness.platform.orchestrator.manager.run_once(0)  # it fires
        for _ in range(3):
            harness.platform.sagas.tables.tables["timers"].clear()
            assert (await harness.act(SAGA, "resume")).json()["sent"] == ["ReserveInventory"]
            [awaited] = (await harness.shown(SAGA))["awaited"]
            assert awaited["command"] == "ReserveInventory"
        harness.platform.settle()
        assert harness.platform.state(SAGA) == "COMPLETED"

    run_scenario(scenario)


def test_what_the_gateway_is_told_leaves_out_deadlines_that_only_sent_something_again() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(0)
        harness.platform.now_ms += MINUTE_MS
        harness.platform.orchestrator.manager.run_once(0)
        told = await harness.told(SAGA)
        assert [each["kind"] for each in told["history"]] == ["CheckoutInitiated"]
        kinds = [each["kind"] for each in (await harness.shown(SAGA))["history"]]
        assert kinds == ["CheckoutInitiated", "DeadlinePassed"], "operators see them"

    run_scenario(scenario)


def test_a_whole_saga_tells_path_sent_messages_ignored_events_and_what_is_owed() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(2)
        harness.platform.initiate(SAGA, PIECES)
        harness.platform.orchestrator.manager.run_once(0)
        await harness.act(SAGA, "cancel")
        whole = await harness.shown(SAGA)
        assert [(e["kind"], e["path"], e["sent"]) for e in whole["history"]] == [
            ("CheckoutInitiated", ["CHECKOUT_INITIATED", STATES[0]], ["ReserveInventory"]),
            ("InventoryReserved", ["INVENTORY_RESERVED", STATES[1]], ["ProcessPayment"]),
            ("PaymentProcessed", ["PAYMENT_PROCESSED", STATES[2]], ["CreateOrder"]),
            (
                "CancellationRequested",
                ["COMPENSATING"],
                ["CompensateOrder", "CompensatePayment", "CompensateInventory"],
            ),
        ]
        assert [(e["kind"], e["reason"], e["times"]) for e in whole["ignored"]] == [
            ("CheckoutInitiated", "repeated_start", 1)
        ]
        assert whole["saga"]["owed"] == {
            "steps": ["order", "payment", "inventory"],
            "amount_minor": 200,
            "currency": "GBP",
            "pieces": {"A": 2},
        }
        assert whole["checkout"]["user_id"] == "ada"
        harness.platform.settle()
        whole = await harness.shown(SAGA)
        assert whole["history"][-1]["sent"] == ["CheckoutFailed"]
        assert whole["saga"]["owed"]["amount_minor"] == 0

    run_scenario(scenario)


def test_what_the_history_says_was_sent_is_what_was_sent() -> None:
    """Every way to an end, every message: the derived list against the bus."""

    async def scenario(harness: OrchestratorHarness) -> None:
        ways = [(0, "cancel"), (1, "cancel"), (2, "cancel"), (1, "resume"), (3, "resume"), (2, "")]
        for n, (reached, verb) in enumerate(ways, 1):
            harness.buy(saga_id(n))
            harness.forward(reached)
            if verb:
                await harness.act(saga_id(n), verb)
            harness.platform.settle()
        log = [record for log in harness.platform.bus.state.log.values() for record in log]
        headers = [dict(record.headers) for record in log]
        for n in range(1, len(ways) + 1):
            whole = await harness.shown(saga_id(n))
            told = sorted(kind for event in whole["history"] for kind in event["sent"])
            sent = sorted(
                h["ce_type"].decode()
                for h in headers
                if h["ce_id"].startswith(saga_id(n).encode()) and h["ce_source"] == b"checkout-orchestrator"
            )
            assert told == sent

    run_scenario(scenario)


# -- a writer in trouble


def test_a_writer_that_does_not_come_round_is_a_503_and_does_nothing_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.runtime.writer_requests.TIMEOUT_S", 0.05)

    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(1)
        harness.writer_is_off = True
        answer = await harness.act(SAGA, "cancel")
        assert problem(answer)[:2] == (503, "dependency_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        harness.platform.settle()
        assert harness.platform.state(SAGA) == "COMPLETED"

    run_scenario(scenario)


def test_a_database_in_trouble_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(1)

        def down(_: object, **__: object) -> None:
            raise StoreUnavailable("as scripted")

        monkeypatch.setattr(harness.platform.orchestrator.processor, "commit", down)
        answer = await harness.cancel(SAGA)
        assert problem(answer)[:2] == (503, "dependency_unavailable")
        assert "retry-after" in answer.headers

    run_scenario(scenario)
