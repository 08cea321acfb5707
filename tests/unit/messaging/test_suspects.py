"""A statement that the database refuses is its trouble, until one message alone is to blame for it."""

from typing import Any
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs
from tests.origin import publish_as_written
from tests.poisons import sound
from tests.samples import saga_id
from tests.unit.messaging.kernel_harness import KernelHarness

from holdfast.messaging.consumer import STATEMENT_FAILED
from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.redriver import Redriver
from holdfast.messaging.store import RowsUnavailable, StatementFailed, StoreUnavailable
from holdfast.messaging.suspects import FAILURES_MIN, TRIES_A_ROUND_MAX


@pytest.fixture
def world() -> KernelHarness:
    return KernelHarness()


def rounds(world: KernelHarness, count: int, *sent: int) -> None:
    """Run so many rounds, each when the deferred messages are due, each with one more of these messages."""
    left = list(sent)
    for _ in range(count):
        world.clock.now_ms += 3_000
        if left:
            world.send(left.pop(0))
        world.manager.run_once(0)


def parked(world: KernelHarness) -> list[tuple[str, str, int]]:
    return [(row.saga_id, row.reason, row.attempts) for row in world.rows("parked").values()]


def test_one_message_that_keeps_failing_alone_is_parked_while_its_neighbours_succeed(
    world: KernelHarness,
) -> None:
    world.handler.refused = {saga_id(2)}
    world.send(1, 2, 3, 4)
    assert world.manager.run_once(0) == 3, "its neighbours need not wait"
    assert (parked(world), len(world.manager.deferred)) == ([], 1)
    with capture_logs() as logs:
        rounds(world, FAILURES_MIN - 1, 5, 6)
    assert parked(world) == [(saga_id(2), STATEMENT_FAILED, FAILURES_MIN)]
    [line] = [line for line in logs if line["event"] == "message_parked"]
    assert (line["saga_id"], line["detail"], line["exc_info"]) == (saga_id(2), "54000: as scripted", False)
    assert world.rows("seen") == {saga_id(n): 1 for n in (1, 3, 4, 5, 6)}
    assert (world.committed(), world.manager.counters.transient_failures) == (6, 0)


def test_a_message_whose_type_is_refused_altogether_is_never_parked(world: KernelHarness) -> None:
    world.handler.refused = {saga_id(n) for n in range(30)}
    world.send(*range(20))
    rounds(world, 20, *range(20, 30))
    assert (parked(world), world.rows("seen")) == ([], {})
    world.handler.refused = set()
    rounds(world, 3)
    assert world.rows("seen") == {saga_id(n): 1 for n in range(30)}
    assert (world.committed(), len(world.manager.deferred), len(world.manager.deferred.suspects)) == (
        30,
        0,
        0,
    )


def test_messages_of_another_type_prove_nothing_and_need_not_wait(world: KernelHarness) -> None:
    """Each round brings an undo, which works, of a saga whose do works no more."""
    world.handler.refused = {saga_id(n) for n in range(5)}
    world.send(*range(5))
    for n in range(10, 20):
        publish_as_written(world.bus, [sound(saga_id(n), "CompensateInventory")])
        rounds(world, 1)
    assert parked(world) == []
    assert world.rows("seen") == {saga_id(n): 1 for n in range(10, 20)}


def test_what_succeeded_before_the_first_refusal_exculpates_nobody(world: KernelHarness) -> None:
    world.send(1, 2, 3)
    rounds(world, 1)
    world.handler.refused = {saga_id(4)}
    world.send(4)
    rounds(world, 10)
    assert parked(world) == []
    rounds(world, 1, 5)
    rounds(world, 1)
    assert [row[:2] for row in parked(world)] == [(saga_id(4), STATEMENT_FAILED)]


def test_a_database_that_takes_no_writes_is_trouble_whatever_it_says_of_a_message(
    world: KernelHarness,
) -> None:
    check_a_database_that_takes_no_writes(world)


def check_a_database_that_takes_no_writes(world: KernelHarness) -> None:
    def takes_none(_: MemoryTransaction) -> None:
        raise StoreUnavailable("53100: as scripted")

    world.handler.refused = {saga_id(1)}
    world.send(1, 2)
    with patch.object(MemoryTransaction, "probe_writes", takes_none):
        rounds(world, 12)
    assert (world.manager.failures_in_a_row, len(world.manager.deferred)) == (12, 0)
    assert (parked(world), world.rows("seen")) == ([], {})
    rounds(world, 1)
    assert world.rows("seen") == {saga_id(2): 1}


@pytest.mark.parametrize("error", [StatementFailed, RowsUnavailable, StoreUnavailable])
def test_a_parking_that_fails_is_trouble_and_holds_nobody_up(
    world: KernelHarness, monkeypatch: pytest.MonkeyPatch, error: type[StoreUnavailable]
) -> None:
    def full(*_: Any) -> None:
        raise error("54000: as scripted")

    world.handler.refused = {saga_id(1)}
    world.send(1)
    with monkeypatch.context() as patch:
        patch.setattr(world.processor, "park", full)
        rounds(world, 12, *range(2, 14))
        rounds(world, 2)
    assert set(world.rows("seen")) == {saga_id(n) for n in range(2, 14)}
    assert parked(world) == []
    rounds(world, 8, *range(20, 28))
    assert [row[:2] for row in parked(world)] == [(saga_id(1), STATEMENT_FAILED)]
    assert world.committed() == 21


def test_nothing_of_its_saga_overtakes_a_suspect(world: KernelHarness) -> None:
    world.handler.refused = {saga_id(n) for n in range(TRIES_A_ROUND_MAX + 4)}
    world.send(*range(TRIES_A_ROUND_MAX + 4))
    rounds(world, 1)
    publish_as_written(
        world.bus, [sound(saga_id(n), "CompensateInventory") for n in range(TRIES_A_ROUND_MAX + 4)]
    )
    rounds(world, 5)
    assert world.handler.order == []
    world.handler.refused = set()
    rounds(world, 4)
    for n in range(TRIES_A_ROUND_MAX + 4):
        mine = [each for each in world.handler.order if each.startswith(saga_id(n))]
        assert mine == [f"{saga_id(n)}:inventory:do", f"{saga_id(n)}:inventory:undo"]


def test_healthy_neighbours_are_not_run_again_without_end(world: KernelHarness) -> None:
    world.handler.refused = {saga_id(n) for n in range(0, 500, 100)}
    world.send(*range(500))
    rounds(world, 8, *range(600, 608))
    healthy = [*(n for n in range(500) if n % 100), *range(600, 608)]
    assert world.rows("seen") == {saga_id(n): 1 for n in healthy}
    before = len(world.handler.batches)
    rounds(world, 4)
    assert len(parked(world)) == 5
    assert len(world.handler.batches) - before <= 4 * (TRIES_A_ROUND_MAX + 1)


def test_a_task_whose_statement_is_refused_holds_up_no_message(world: KernelHarness) -> None:
    def fail(_: Any) -> None:
        raise StatementFailed("54000: as scripted")

    world.manager.periodic_tasks.append(PeriodicTask[MemoryTransaction]("broken", 1, fail))
    world.send(1)
    assert world.manager.run_once(0) == 1
    assert world.manager.counters.tasks_postponed == 1


def test_a_redriven_message_that_is_refused_again_is_parked_again_without_a_traceback(
    world: KernelHarness,
) -> None:
    world.handler.refused = {saga_id(1)}
    world.send(1)
    rounds(world, 6, *range(2, 8))
    [row] = world.rows("parked").values()
    with world.store.transaction() as tx:
        tx.settle_parked([row.place], "redriven")
    with capture_logs() as logs:
        Redriver().run_once(world.manager)
    [row] = world.rows("parked").values()
    assert (row.status, row.outcome, row.reason) == ("parked", "parked_again", STATEMENT_FAILED)
    assert [line["exc_info"] for line in logs if line["event"] == "redriven_message_failed"] == [False]
