"""What the gateway does under too much load: it turns new checkouts away before any work, not known ones."""

import asyncio
from collections.abc import Callable

import pytest
from tests.callers import problem
from tests.samples import SAMPLES
from tests.unit.gateway_bff.gateway_harness import WAITED_S_MAX, GatewayHarness, run_scenario

from holdfast.bus.port import Message
from holdfast.contracts.codec import encode
from holdfast.messaging.envelope import seal_raw
from holdfast.services.gateway_bff.load_shedding import LoadLimits, retry_after_s


async def is_held(harness: GatewayHarness) -> None:
    async with asyncio.timeout(10):
        while not harness.waiting.held:  # noqa: ASYNC110 - what is on trial tells nobody that it waits
            await asyncio.sleep(0)


def too_many_under_way(harness: GatewayHarness) -> None:
    harness.parts.load_shedding.under_way = LoadLimits.under_way_max


def waited_too_long(harness: GatewayHarness) -> None:
    harness.seconds = WAITED_S_MAX + 0.5


def outbox_too_long(harness: GatewayHarness) -> None:
    harness.parts.relay.submit_rows(
        [(1_000 + n, [a_message()]) for n in range(LoadLimits.outbox_batches_max)]
    )


def outbox_too_old(harness: GatewayHarness) -> None:
    harness.parts.relay.submit_rows([(1_000, [a_message()])])
    harness.parts.outbox_rescuer.age_ms = LoadLimits.outbox_age_ms_max + 1


def a_message() -> Message:
    saga_id = "01890000-0000-7000-8000-000000000000"
    payload = SAMPLES["CheckoutInitiated"]
    return seal_raw(f"{saga_id}:initiated", "CheckoutInitiated", saga_id, encode(payload), "test")


@pytest.mark.parametrize(
    "load", [too_many_under_way, waited_too_long, outbox_too_long, outbox_too_old], ids=lambda f: f.__name__
)
def test_a_new_checkout_is_turned_away_before_any_work_and_a_known_one_is_answered(
    load: Callable[[GatewayHarness], None],
) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        first = await harness.checkout()
        asked = len(harness.upstreams.asked)
        harness.put_cart("c-2")
        load(harness)
        again, new = await asyncio.gather(harness.checkout(), harness.checkout("c-2", "key-2"))
        assert (again.status_code, again.content) == (202, first.content)
        assert problem(new) == (503, "overloaded", [])
        assert 1 <= int(new.headers["retry-after"]) <= 4
        assert len(harness.upstreams.asked) == asked, "no snapshot was taken"
        assert len(harness.store.tables.tables["checkout"]) == 1
        assert harness.parts.load_shedding.counts == {load.__name__: 1}
        assert (await harness.ada.ask("GET", first.headers["location"])).status_code == 200

    run_scenario(scenario)


def test_what_was_just_accepted_counts_until_the_next_look() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        harness.parts.load_shedding.under_way = LoadLimits.under_way_max - 1
        assert (await harness.checkout()).status_code == 202
        harness.put_cart("c-2")
        assert (await harness.checkout("c-2", "key-2")).status_code == 503
        harness.parts.manager.periodic_tasks[:] = [harness.parts.load_shedding.periodic_task()]
        harness.parts.manager.run_once(0)
        assert harness.parts.load_shedding.under_way == 1
        assert (await harness.checkout("c-2", "key-2")).status_code == 202

    run_scenario(scenario)


def test_those_turned_away_are_told_to_come_back_at_different_times() -> None:
    assert {retry_after_s(f"key-{n}") for n in range(100)} == {1, 2, 3, 4}


def test_while_the_breaker_is_not_closed_exactly_one_checkout_is_let_in_as_the_probe() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        for n in range(10):
            harness.put_cart(f"c-{n}")
        harness.retry_after_s, harness.gate.tickets = 1.0, 1
        answers = await asyncio.gather(*(harness.checkout(f"c-{n}", f"key-{n}") for n in range(10)))
        assert sorted(answer.status_code for answer in answers) == [202] + [503] * 9
        assert len(harness.store.tables.tables["checkout"]) == 1
        assert len(harness.published()) == 1

    run_scenario(scenario)


async def let_the_bus_fail(harness: GatewayHarness) -> None:
    """Accept checkouts that cannot leave, until the breaker opens; another instance publishes their rows."""
    harness.bus.state.reachable = False
    for n in range(5):
        harness.put_cart(f"lost-{n}")
        assert (await harness.checkout(f"lost-{n}", f"lost-{n}")).status_code == 202
        harness.parts.relay.run_once(0)
    harness.parts.relay._waiting.clear()
    assert (harness.parts.breaker.state, harness.parts.relay.is_idle()) == ("open", True)


def test_an_open_breaker_closes_by_a_checkout_although_the_outbox_is_empty() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        await let_the_bus_fail(harness)
        breaker, rows = harness.parts.breaker, harness.store.tables.tables["checkout"]
        for n in range(10):
            harness.put_cart(f"c-{n}")
        for n in range(10):
            assert problem(await harness.checkout(f"c-{n}", "early")) == (503, "dependency_unavailable", [])
        assert len(rows) == 5, "nothing is recorded"
        harness.now_ms += 7_000  # past the longest opening; the bus is still away
        answers = [await harness.checkout(f"c-{n}", f"key-{n}") for n in range(3)]
        assert [answer.status_code for answer in answers] == [202, 503, 503]
        assert not harness.parts.relay.run_once(0)
        assert (breaker.state, breaker.transitions["open"]) == ("open", 2)
        harness.now_ms += 7_000
        harness.bus.state.reachable = True
        assert (await harness.checkout("c-1", "key-1")).status_code == 202
        assert breaker.state == "open"
        assert harness.parts.relay.run_once(0), "the probe's message leaves"
        assert breaker.state == "closed"
        assert (await harness.checkout("c-2", "key-2")).status_code == 202

    run_scenario(scenario, real_breaker=True)


def test_while_the_bus_is_away_that_is_told_although_the_outbox_is_full_for_it() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        await let_the_bus_fail(harness)
        outbox_too_old(harness)
        harness.put_cart("c-2")
        assert problem(await harness.checkout("c-2", "key-2")) == (503, "dependency_unavailable", [])
        assert harness.parts.load_shedding.counts == {}
        harness.now_ms += 7_000  # a probe is due: what is in the outbox will be it
        assert problem(await harness.checkout("c-2", "key-2")) == (503, "dependency_unavailable", [])
        assert harness.parts.breaker.reserve_probe(), "the ticket was given back"

    run_scenario(scenario, real_breaker=True)


def test_a_probe_that_starts_nothing_leaves_the_place_to_the_next() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        harness.retry_after_s, harness.gate.tickets = 1.0, 1
        assert (await harness.checkout("missing", "key-0")).status_code == 404
        assert harness.gate.tickets == 1
        answers = await asyncio.gather(harness.checkout("gone", "key-1"), harness.checkout("c-1", "key-2"))
        assert [answer.status_code for answer in answers] == [404, 202]
        assert harness.gate.tickets == 0

    run_scenario(scenario)


def test_when_the_gateway_stops_held_answers_are_given_and_nobody_is_held_any_more() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        saga_id = await harness.started()
        path, wait = f"/v1/checkouts/{saga_id}", {"prefer": "wait=30"}
        held = asyncio.create_task(harness.ada.ask("GET", path, headers=wait))
        await is_held(harness)
        harness.waiting.leave()
        async with asyncio.timeout(10):
            assert (await held).json()["state"] == "CHECKOUT_INITIATED"
            assert (await harness.ada.ask("GET", path, headers=wait)).status_code == 200
        assert harness.waiting.held == 0

    run_scenario(scenario)


def test_more_than_can_be_held_are_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(harness: GatewayHarness) -> None:
        monkeypatch.setattr("holdfast.services.gateway_bff.completion_waiter.WAITING_MAX", 1)
        saga_id = await harness.started()
        path, wait = f"/v1/checkouts/{saga_id}", {"prefer": "wait=30"}
        held = asyncio.create_task(harness.ada.ask("GET", path, headers=wait))
        await is_held(harness)
        async with asyncio.timeout(10):
            assert (await harness.ada.ask("GET", path, headers=wait)).status_code == 200
        assert not held.done()
        harness.complete(saga_id)
        async with asyncio.timeout(10):
            assert (await held).json()["state"] == "COMPLETED"

    run_scenario(scenario)
