"""A held row delays only the messages that need it; no offset and no saga's order is lost over it."""

from collections import Counter
from collections.abc import Sequence

import pytest
from tests.samples import saga_id
from tests.unit.messaging.kernel_harness import KernelHarness
from tests.unit.messaging.test_many_deadlines import due
from tests.unit.messaging.test_timers import SETTINGS, DeadlineWorld

from holdfast.bus.port import NotOwner, Record, TopicPartition
from holdfast.messaging import deferred
from holdfast.messaging.batch_processor import Committed
from holdfast.messaging.consumer import ASIDE_WAIT_MS, BATCH_MAX, KafkaConsumerManager
from holdfast.messaging.deferred import RETRY_CAP_MS, RETRY_WAIT_MS, SEARCH_WAIT_MS, SEARCHES_MAX
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.store import RowsUnavailable
from holdfast.messaging.timers import FiredTimer
from holdfast.messaging.writer_tasks import REQUESTS_IN_A_ROW_MAX

ALL = range(1, 101)


@pytest.fixture
def world() -> KernelHarness:
    return KernelHarness()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how long each transaction was to wait for locks."""
    noted: list[int] = []
    monkeypatch.setattr(MemoryTransaction, "limit_lock_wait", lambda _, wait_ms: noted.append(wait_ms))
    return noted


def settle(world: KernelHarness) -> None:
    """Let what is deferred be tried again until it is empty."""
    for _ in range(20):
        world.clock.now_ms += RETRY_CAP_MS
        world.manager.run_once(0)
        if not world.manager.deferred:
            return
    raise AssertionError("something stays deferred")


def test_one_locked_saga_delays_no_other(world: KernelHarness) -> None:
    world.handler.locked = {saga_id(42)}
    world.send(*ALL)
    assert world.manager.run_once(0) == len(ALL) - 1
    assert set(world.rows("seen")) == {saga_id(n) for n in ALL if n != 42}
    assert (world.manager.counters.transient_failures, world.manager.retry_after_ms()) == (0, 0)
    assert not world.rows("parked"), "it is nobody's fault"
    world.send(200)
    assert world.manager.run_once(0) == 1, "what comes later is not held up, either"


def test_no_offset_passes_what_is_deferred_and_all_do_once_it_is_processed(world: KernelHarness) -> None:
    world.handler.locked = {saga_id(n) for n in (7, 42)}
    world.send(*ALL)
    world.manager.run_once(0)
    first: dict[TopicPartition, int] = {}
    for record in world.manager.deferred.begin_round():
        first[record.place] = min(record.offset, first.get(record.place, record.offset))
    for place, offset in first.items():
        assert world.manager.consumer.committed(place) <= offset
    world.handler.locked = {saga_id(7)}
    world.clock.now_ms += RETRY_CAP_MS
    world.manager.run_once(0)
    assert world.committed() < len(ALL)
    world.handler.locked = set()
    settle(world)
    assert world.committed() == len(ALL)
    assert world.rows("seen") == {saga_id(n): 1 for n in ALL}


def test_no_message_of_a_saga_overtakes_one_that_is_deferred(world: KernelHarness) -> None:
    world.handler.locked = {saga_id(1)}
    world.send(1, 2, 1)
    world.manager.run_once(0)
    world.send(1)
    world.handler.locked = set()  # gone before the deferred ones are due
    world.manager.run_once(0)
    assert saga_id(1) not in world.rows("seen")
    settle(world)
    assert world.rows("seen") == {saga_id(1): 3, saga_id(2): 1}
    assert world.committed() == 4


def test_a_lock_that_goes_in_the_middle_of_a_search_lets_nothing_overtake(world: KernelHarness) -> None:
    world.handler.locked = {saga_id(1)}
    world.send(1, *range(2, 9), 1, 1)
    run = world.manager.processor.run
    offsets: list[int] = []

    def noting(
        records: Sequence[Record], forget: Sequence[int] = (), lock_wait_ms: int | None = None
    ) -> Committed:
        if len(records) == 1 and records[0].key == saga_id(1).encode():
            try:
                return run(records, forget, lock_wait_ms)
            finally:
                world.handler.locked = set()  # it is free from now on, but its first message is deferred
        committed = run(records, forget, lock_wait_ms)
        offsets.extend(record.offset for record in records if record.key == saga_id(1).encode())
        return committed

    world.manager.processor.run = noting  # type: ignore[method-assign]
    world.manager.run_once(0)
    assert not world.handler.locked, "the first one was refused alone"
    assert saga_id(1) not in world.rows("seen")
    settle(world)
    assert len(offsets) == 3
    assert offsets == sorted(offsets)


def test_the_search_is_bounded_however_many_are_locked(world: KernelHarness) -> None:
    world.handler.locked = {saga_id(n) for n in range(1, BATCH_MAX + 1)}
    world.send(*range(1, BATCH_MAX + 1))
    assert world.manager.run_once(0) == 0
    assert len(world.handler.batches) <= SEARCHES_MAX + 12, "what was not told apart is deferred together"
    assert len(world.manager.deferred) == BATCH_MAX
    world.handler.batches.clear()
    world.send(1000)
    assert world.manager.run_once(0) == 1
    assert world.handler.batches == [1], "what is deferred is not tried again before its time"
    world.handler.locked = set()
    settle(world)
    assert world.committed() == BATCH_MAX + 1


def test_only_the_first_batch_that_meets_a_lock_waits_long(world: KernelHarness, waits: list[int]) -> None:
    world.handler.locked = {saga_id(1)}
    world.send(1, 2)
    world.manager.run_once(0)
    assert waits == [SEARCH_WAIT_MS] * 2, "the batch waits as sessions do, its halves shortly"
    waits.clear()
    world.send(3)
    world.manager.run_once(0)
    assert waits == [SEARCH_WAIT_MS]
    waits.clear()
    world.clock.now_ms += RETRY_CAP_MS
    world.manager.run_once(0)
    assert waits == [RETRY_WAIT_MS]


def test_a_restart_reads_the_deferred_again(world: KernelHarness) -> None:
    world.handler.locked = {saga_id(42)}
    world.send(*ALL)
    world.manager.run_once(0)
    world.manager.close()
    assert not world.manager.deferred
    world.handler.locked = set()
    other = world.new_manager()
    while other.run_once(0):
        pass
    assert set(world.rows("seen")) == {saga_id(n) for n in ALL}
    assert world.committed() == len(ALL)


def test_what_others_own_now_is_not_tried_again(world: KernelHarness) -> None:
    world.handler.locked = {saga_id(1)}
    world.send(1)
    world.manager.run_once(0)
    (place,) = world.manager.deferred.places()
    world.manager._on_lost(frozenset({place}))
    assert not world.manager.deferred


def test_a_refused_offset_drops_what_was_deferred_there(
    world: KernelHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.handler.locked = {saga_id(1)}
    world.send(1)
    world.manager.run_once(0)
    (place,) = world.manager.deferred.places()

    def refuse(_: object) -> None:
        raise NotOwner(frozenset({place}))

    monkeypatch.setattr(world.manager.consumer, "commit", refuse)
    world.send(*range(2, 30))
    world.manager.run_once(0)
    assert not world.manager.deferred


def test_trouble_after_a_deferral_reads_all_of_the_partition_again_in_order(world: KernelHarness) -> None:
    world.handler.locked = {saga_id(1)}
    world.send(1, *range(2, 30))
    world.manager.run_once(0)
    world.send(1, 30)
    world.handler.locked, world.handler.unavailable = set(), 1
    world.clock.now_ms += RETRY_CAP_MS
    world.manager.run_once(0)
    assert world.manager.counters.transient_failures == 1
    for _ in range(4):
        world.clock.now_ms += RETRY_CAP_MS
        world.manager.run_once(0)
    assert world.committed() == 31
    assert world.rows("seen")[saga_id(1)] == 2


def test_too_many_deferred_are_trouble_and_are_read_again(
    world: KernelHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deferred, "RECORDS_MAX", 10)
    world.handler.locked = {saga_id(n) for n in range(1, 21)}
    world.send(*range(1, 21))
    world.manager.run_once(0)
    assert world.manager.counters.transient_failures == 1
    world.handler.locked = set()
    for _ in range(6):
        world.clock.now_ms += RETRY_CAP_MS
        world.manager.run_once(0)
    assert world.committed() == 20
    assert set(world.rows("seen")) == {saga_id(n) for n in range(1, 21)}


def test_a_periodic_task_that_meets_a_lock_delays_no_message_and_no_other_task(
    world: KernelHarness, waits: list[int]
) -> None:
    ran: Counter[str] = Counter()

    def locked(tx: MemoryTransaction) -> HandlerResult:
        raise RowsUnavailable("as scripted")

    def meets_a_lock(manager: KafkaConsumerManager[MemoryTransaction]) -> None:
        ran["locked"] += 1
        manager.commit(locked)

    def runs(manager: KafkaConsumerManager[MemoryTransaction]) -> None:
        ran["other"] += 1

    manager = world.new_manager([PeriodicTask("locked", 500, meets_a_lock), PeriodicTask("other", 500, runs)])
    world.send(1)
    assert manager.run_once(0) == 1
    assert ran == {"locked": 1, "other": 1}
    assert manager.counters.tasks_postponed == 1
    assert waits == [ASIDE_WAIT_MS]


def test_a_request_that_meets_a_lock_is_told_so_and_holds_up_no_message(
    world: KernelHarness, waits: list[int]
) -> None:
    def locked(tx: MemoryTransaction) -> tuple[HandlerResult, None]:
        raise RowsUnavailable("as scripted")

    asked = world.manager.submit(locked)
    world.send(1)
    assert world.manager.run_once(0) == 1
    assert isinstance(asked.exception(0), RowsUnavailable)
    assert waits == [ASIDE_WAIT_MS]


def test_a_locked_saga_puts_off_its_own_deadline_alone() -> None:
    world = DeadlineWorld()
    bad, fire = saga_id(2), world.fire

    def meets_a_lock(tx: MemoryTransaction, timers: Sequence[FiredTimer]) -> HandlerResult:
        if any(timer.row.key.saga_id == bad for timer in timers):
            raise RowsUnavailable("as scripted")
        return fire(tx, timers)

    world.deadlines._fire = meets_a_lock
    world.set(*(due(world, n) for n in (1, 2, 3)))
    assert sorted(timer.row.key.saga_id for timer in world.run()) == [saga_id(1), saga_id(3)]
    assert world.deadlines.failed == 0, "it is no bug"
    assert world.run() == []
    world.deadlines._fire = fire
    world.clock.now_ms += SETTINGS.resend_after_ms
    [fired] = [timer for timer in world.run() if timer.row.key.saga_id == bad]
    assert (fired.row.fired, fired.overdue) == (2, True)


def test_many_locked_sagas_bound_one_look_for_deadlines() -> None:
    world = DeadlineWorld()
    tries: list[int] = []

    def meets_a_lock(tx: MemoryTransaction, timers: Sequence[FiredTimer]) -> HandlerResult:
        tries.append(len(timers))
        raise RowsUnavailable("as scripted")

    world.deadlines._fire = meets_a_lock
    world.set(*(due(world, n) for n in range(1, 101)))
    world.run()
    assert tries == [100] + [1] * SEARCHES_MAX


def test_many_requests_of_people_leave_the_writer_to_messages(world: KernelHarness) -> None:
    asked = [
        world.manager.submit(lambda _: (HandlerResult(), None)) for _ in range(REQUESTS_IN_A_ROW_MAX + 5)
    ]
    world.send(1)
    assert world.manager.run_once(0) == 1
    assert [request.done() for request in asked].count(True) == REQUESTS_IN_A_ROW_MAX
    world.manager.run_once(0)
    assert all(request.done() for request in asked)
