"""Deadlines in numbers, and where one of them meets a bug: no saga's time depends on another's."""

from collections.abc import Callable, Sequence

from tests.samples import saga_id
from tests.unit.messaging.test_timers import SETTINGS, DeadlineWorld

from holdfast.bus.partitioner import partition_of
from holdfast.contracts.topics import PARTITIONS_EMBEDDED
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.store import TimerKey, TimerRow
from holdfast.messaging.timers import FIRINGS_IN_A_ROW_MAX, FiredTimer

Fire = Callable[[MemoryTransaction, Sequence[FiredTimer]], HandlerResult]


def due(world: DeadlineWorld, number: int) -> TimerRow:
    saga = saga_id(number)
    partition = partition_of(saga.encode(), PARTITIONS_EMBEDDED)
    return world.overdue()._replace(key=TimerKey(saga, "inventory", "do"), partition=partition)


def refusing(fire: Fire, saga: str) -> Fire:
    """A handler that has a bug for one saga."""

    def buggy(tx: MemoryTransaction, timers: Sequence[FiredTimer]) -> HandlerResult:
        if any(timer.row.key.saga_id == saga for timer in timers):
            raise KeyError(saga)
        return fire(tx, timers)

    return buggy


def test_more_than_one_batch_is_fired_in_one_look_and_the_rest_in_the_next() -> None:
    world = DeadlineWorld()
    at_once = SETTINGS.fire_at_once_max
    world.set(*(due(world, n) for n in range(1, at_once * FIRINGS_IN_A_ROW_MAX + 11)))
    assert len(world.run()) == at_once * FIRINGS_IN_A_ROW_MAX
    assert len(world.run()) == 10
    assert all(timer.overdue for timer in world.fired), "nobody waits so long that it counts as late"
    assert world.run() == []


def test_a_bug_that_meets_one_saga_puts_off_that_one_alone() -> None:
    world = DeadlineWorld()
    bad = saga_id(2)
    world.deadlines._fire = refusing(world.fire, bad)
    world.set(*(due(world, n) for n in (1, 2, 3)))
    assert sorted(timer.row.key.saga_id for timer in world.run()) == [saga_id(1), saga_id(3)]
    assert world.deadlines.failed == 1
    assert world.run() == [], "it is not tried again at once"
    world.deadlines._fire = world.fire
    world.clock.now_ms += SETTINGS.backoff_cap_ms
    [fired] = [timer for timer in world.run() if timer.row.key.saga_id == bad]
    assert (fired.row.fired, fired.overdue) == (2, True), "what was put off has not been counted"
    assert world.deadlines.failed == 1
