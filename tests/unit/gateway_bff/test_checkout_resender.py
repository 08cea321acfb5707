"""CheckoutInitiated is sent again, ever more slowly, until its end was seen."""

import asyncio

import pytest
from tests.unit.gateway_bff.gateway_harness import MINUTE_MS, GatewayHarness, run_scenario

from holdfast.bus.partitioner import partition_of
from holdfast.contracts.topics import PARTITIONS_EMBEDDED
from holdfast.messaging.store import StoreUnavailable
from holdfast.services.gateway_bff import checkout_resender
from holdfast.services.gateway_bff.checkout_resender import CheckoutResender


def attempts(harness: GatewayHarness) -> dict[str, list[int]]:
    """How the start of each saga was sent, by the saga: the attempts counted in its headers."""
    found: dict[str, list[int]] = {}
    first: dict[str, bytes] = {}
    for message_id, value, headers in harness.published():
        found.setdefault(message_id.removesuffix(":initiated"), []).append(
            int(headers.get("ce_attempt", b"1"))
        )
        assert first.setdefault(message_id, value) == value, (
            "a message that is sent again is the same message"
        )
    return found


def join(harness: GatewayHarness) -> None:
    """Own partitions, without the tasks that the service itself has."""
    harness.parts.manager.periodic_tasks.clear()
    harness.parts.manager.run_once(0)


def look(harness: GatewayHarness, task: CheckoutResender) -> None:
    join(harness)
    task.run_once(harness.parts.manager)


def test_an_open_checkout_is_sent_again_after_1_2_4_8_minutes_and_no_other_time() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        task = CheckoutResender(PARTITIONS_EMBEDDED)
        saga_id = await harness.started()
        begun = harness.now_ms
        sent_at = []
        for minute_half in range(1, 41):
            harness.now_ms = begun + minute_half * MINUTE_MS // 2 + 1
            before = len(attempts(harness)[saga_id])
            look(harness, task)
            if len(attempts(harness)[saga_id]) > before:
                sent_at.append(minute_half / 2)
        assert sent_at == [1, 2, 4, 8, 16]
        assert attempts(harness)[saga_id] == [1, 2, 3, 4, 5, 6]

    run_scenario(scenario)


def test_a_clock_that_jumped_ahead_for_one_look_leaves_nobody_out() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        task = CheckoutResender(PARTITIONS_EMBEDDED)
        begun = harness.now_ms
        look(harness, task)
        harness.now_ms = begun + 10_000 * MINUTE_MS
        look(harness, task)
        harness.now_ms = begun + MINUTE_MS
        saga_id = await harness.started()
        look(harness, task)
        harness.now_ms += MINUTE_MS + 1
        join(harness)
        task.run_once(harness.parts.manager)
        assert attempts(harness)[saga_id] == [1, 2]

    run_scenario(scenario)


def test_an_ended_checkout_is_not_sent_again() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        task = CheckoutResender(PARTITIONS_EMBEDDED)
        join(harness)
        harness.put_cart("c-2")
        completed, failed = await harness.started(), await harness.started("c-2", "key-2")
        harness.complete(completed)
        harness.fail(failed)
        harness.now_ms += 2 * MINUTE_MS
        look(harness, task)
        assert attempts(harness) == {completed: [1], failed: [1]}

    run_scenario(scenario)


def test_a_process_that_starts_sends_all_that_is_open_and_older_than_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Page by page, and no checkout is skipped where a page ends within one millisecond."""
    monkeypatch.setattr(checkout_resender, "ROWS_MAX", 4)

    async def scenario(harness: GatewayHarness) -> None:
        for n in range(10):
            harness.put_cart(f"c-{n}")
        await asyncio.gather(*(harness.checkout(f"c-{n}", f"key-{n}") for n in range(10)))
        harness.now_ms += 5 * MINUTE_MS
        young = await harness.started("c-1", "key-1")
        assert young in attempts(harness)
        task = CheckoutResender(PARTITIONS_EMBEDDED)
        for sent in (4, 8, 10, 10):
            look(harness, task)
            assert sum(sends == [1, 4] for sends in attempts(harness).values()) == sent

    run_scenario(scenario)


def test_only_the_owner_of_a_partition_sends() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        for n in range(30):
            harness.put_cart(f"c-{n}")
        await asyncio.gather(*(harness.checkout(f"c-{n}", f"key-{n}") for n in range(30)))
        harness.now_ms += 2 * MINUTE_MS
        join(harness)
        harness.parts.manager.partitions = lambda: frozenset({1})  # type: ignore[method-assign]
        CheckoutResender(PARTITIONS_EMBEDDED).run_once(harness.parts.manager)
        for saga_id, sends in attempts(harness).items():
            mine = partition_of(saga_id.encode(), PARTITIONS_EMBEDDED) == 1
            assert len(sends) == (2 if mine else 1)

    run_scenario(scenario)


def test_a_look_whose_commit_failed_is_made_again() -> None:
    async def scenario(harness: GatewayHarness) -> None:
        task = CheckoutResender(PARTITIONS_EMBEDDED)
        saga_id = await harness.started()
        harness.now_ms += MINUTE_MS + 1
        join(harness)
        sound = harness.store.transaction

        def down() -> object:
            raise StoreUnavailable("gone")

        harness.store.transaction = down  # type: ignore[method-assign, assignment]
        with pytest.raises(StoreUnavailable):
            task.run_once(harness.parts.manager)
        harness.store.transaction = sound  # type: ignore[method-assign]
        task.run_once(harness.parts.manager)
        assert attempts(harness)[saga_id] == [1, 2]

    run_scenario(scenario)
