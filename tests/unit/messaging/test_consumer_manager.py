"""KafkaConsumerManager: transient failures are waited out, a failing message is parked, offsets come last."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.samples import saga_id
from tests.unit.messaging.kernel_harness import UNREACHABLE, KernelHarness

from holdfast.bus.port import BusUnavailable, Record, TopicPartition
from holdfast.contracts.topics import EVENTS, INVENTORY_COMMANDS, PARTITIONS_EMBEDDED
from holdfast.messaging.consumer import BATCH_MAX, TROUBLE_CAP_MS
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.parked import ParkedRecord
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.store import StoreUnavailable


@pytest.fixture
def world() -> KernelHarness:
    return KernelHarness()


def replies(world: KernelHarness) -> list[str]:
    """Return the saga ids that were answered on the bus, in the order of partitions."""
    while world.relay.run_once(0):
        pass
    return [(record.key or b"").decode() for record in world.on_topic(EVENTS)]


def raising(error: Exception) -> Callable[..., Any]:
    """Return a function that raises."""

    def call(*_: Any) -> None:
        raise error

    return call


def test_a_batch_is_handled_committed_and_published(world: KernelHarness) -> None:
    world.send(1, 2, 3)
    assert world.manager.run_once(0) == 3
    assert world.rows("seen") == {saga_id(n): 1 for n in (1, 2, 3)}
    assert world.committed() == 3
    assert sorted(replies(world)) == [saga_id(n) for n in (1, 2, 3)]
    counters = world.manager.counters
    assert (counters.records, counters.batches, counters.handled, counters.parked) == (3, 1, 3, 0)


def test_one_batch_is_one_transaction_and_has_a_limit(world: KernelHarness) -> None:
    world.send(*range(BATCH_MAX + 20))
    assert world.manager.run_once(0) == BATCH_MAX
    assert world.manager.run_once(0) == 20
    assert world.handler.batches == [BATCH_MAX, 20]


def test_published_rows_are_deleted_in_the_next_batch_or_when_idle(world: KernelHarness) -> None:
    world.send(1)
    world.manager.run_once(0)
    world.relay.run_once(0)
    assert len(world.rows("outbox")) == 1
    assert world.manager.run_once(0) == 0
    assert not world.rows("outbox")


def test_line_27_a_transient_failure_rolls_back_rewinds_and_is_tried_again_without_end(
    world: KernelHarness,
) -> None:
    world.send(1, 2)
    world.handler.unavailable = 12
    waits = []
    for n in range(12):
        assert world.manager.run_once(0) == 0
        assert world.manager.failures_in_a_row == n + 1
        waits.append(world.manager.retry_after_ms())
    assert not world.rows("seen")
    assert not world.rows("parked")
    assert world.committed() == 0
    assert 25 <= waits[0] <= 50
    assert waits[0] < waits[3]
    assert TROUBLE_CAP_MS / 2 <= waits[-1] <= TROUBLE_CAP_MS
    assert world.manager.run_once(0) == 2
    assert world.rows("seen") == {saga_id(1): 1, saga_id(2): 1}
    assert (world.manager.retry_after_ms(), world.manager.counters.transient_failures) == (0, 12)


def test_rows_that_were_about_to_be_deleted_are_kept_through_trouble(world: KernelHarness) -> None:
    world.send(1)
    world.manager.run_once(0)
    world.relay.run_once(0)
    world.send(2)
    world.handler.unavailable = 1
    world.manager.run_once(0)
    assert len(world.rows("outbox")) == 1
    assert world.relay.has_published()
    world.manager.run_once(0)
    assert len(world.rows("outbox")) == 1, "only the new one"


def test_line_27_a_bug_parks_only_the_message_that_it_meets(world: KernelHarness) -> None:
    world.handler.bugs = {saga_id(2)}
    world.send(1, 2, 3, 4)
    with capture_logs() as logs:
        assert world.manager.run_once(0) == 4
    assert [line["saga_id"] for line in logs if line["event"] == "message_parked"] == [saga_id(2)]
    assert world.rows("seen") == {saga_id(n): 1 for n in (1, 3, 4)}
    [parked] = world.rows("parked").values()
    assert isinstance(parked, ParkedRecord)
    assert (parked.saga_id, parked.reason) == (saga_id(2), "handler_failed")
    assert parked.detail == f"ZeroDivisionError: the handler's bug with {saga_id(2)}"
    assert world.committed() == 4
    assert sorted(replies(world)) == [saga_id(n) for n in (1, 3, 4)]
    assert [record.key for record in world.on_topic(f"{INVENTORY_COMMANDS}.dlq")] == [saga_id(2).encode()]
    assert world.manager.counters.parked == 1
    assert world.manager.retry_after_ms() == 0


def test_a_bug_that_only_the_whole_batch_shows_parks_nothing(world: KernelHarness) -> None:
    handle = world.handler.handle

    def of_batches(tx: MemoryTransaction, envelopes: Any) -> HandlerResult:
        if len(envelopes) > 1:
            raise ZeroDivisionError
        return handle(tx, envelopes)

    world.handler.handle = of_batches  # type: ignore[method-assign]
    world.send(1, 2, 3)
    assert world.manager.run_once(0) == 3
    assert not world.rows("parked")
    assert len(replies(world)) == 3


def test_trouble_in_the_middle_of_a_search_leaves_the_rest_for_later(world: KernelHarness) -> None:
    world.handler.bugs = {saga_id(1)}
    world.send(1)
    world.send(2, 3)
    handle = world.handler.handle

    def failing_late(tx: MemoryTransaction, envelopes: Any) -> HandlerResult:
        if len(envelopes) < 3 and saga_id(1) not in {envelope.saga_id for envelope in envelopes}:
            world.handler.handle = handle  # type: ignore[method-assign]
            raise StoreUnavailable("as scripted")
        return handle(tx, envelopes)

    world.handler.handle = failing_late  # type: ignore[method-assign]
    handled = world.manager.run_once(0)
    assert world.manager.failures_in_a_row == 1
    assert world.committed() == handled < 3
    world.manager.run_once(0)
    assert world.manager.failures_in_a_row == 0
    assert world.committed() == 3
    assert world.rows("seen") == {saga_id(n): 1 for n in (2, 3)}
    assert [row.saga_id for row in world.rows("parked").values()] == [saga_id(1)]


def test_a_bad_record_is_parked_and_the_partition_flows(world: KernelHarness) -> None:
    world.send(1)
    place = TopicPartition(INVENTORY_COMMANDS, 0)
    world.bus.state.log[place] += (
        Record(*place, len(world.bus.state.log[place]), None, b"\xff", (("ce_type", b"?"),), 0),
    )
    world.send(2)
    assert world.manager.run_once(0) == 3
    assert world.committed() == 3
    assert len(world.rows("parked")) == 1
    assert sorted(replies(world)) == [saga_id(1), saga_id(2)]


def test_offsets_are_committed_after_the_database(world: KernelHarness) -> None:
    world.send(1)
    in_database: list[dict[Any, Any]] = []
    commit = world.manager.consumer.commit

    def note(offsets: Any) -> None:
        in_database.append(dict(world.rows("seen")))
        commit(offsets)

    world.manager.consumer.commit = note  # type: ignore[method-assign]
    world.manager.run_once(0)
    assert in_database == [{saga_id(1): 1}]


def test_what_was_committed_before_a_lost_offset_commit_is_handled_again(world: KernelHarness) -> None:
    world.send(1)
    world.manager.consumer.commit = raising(UNREACHABLE)  # type: ignore[method-assign]
    assert world.manager.run_once(0) == 1
    assert world.committed() == 0
    other = world.new_manager()
    world.clock.now_ms += 60_000
    assert other.run_once(0) == 1
    assert world.rows("seen") == {saga_id(1): 2}
    assert world.committed() == 1


def test_offsets_that_the_bus_did_not_take_are_committed_by_the_next_round(world: KernelHarness) -> None:
    world.send(1)
    commit = world.manager.consumer.commit
    world.manager.consumer.commit = raising(UNREACHABLE)  # type: ignore[method-assign]
    world.manager.run_once(0)
    world.manager.consumer.commit = commit  # type: ignore[method-assign]
    world.manager.run_once(0)
    assert world.committed() == 1, "a deadline would wait for ever, and the audit for quiet"
    assert world.rows("seen") == {saga_id(1): 1}


def test_a_zombie_is_told_so_counts_it_and_goes_on(world: KernelHarness) -> None:
    world.manager.run_once(0)
    world.send(1)
    place = next(p for p in world.bus.state.log if p.topic == INVENTORY_COMMANDS and world.bus.state.log[p])
    lease = world.bus.state.leases["inventory-write", place]
    commit = world.manager.consumer.commit

    def overtaken(offsets: Any) -> None:
        world.bus.state.leases["inventory-write", place] = lease._replace(
            owner="other", epoch=lease.epoch + 1, expires_at=9e12
        )
        commit(offsets)

    world.manager.consumer.commit = overtaken  # type: ignore[method-assign]
    assert world.manager.run_once(0) == 1
    assert world.manager.counters.fenced_commits == 1
    assert world.committed() == 0
    assert world.manager.retry_after_ms() == 0
    assert world.manager.run_once(0) == 0, "what is another's is not read again"


def test_an_unreachable_bus_is_trouble_and_heals(world: KernelHarness) -> None:
    world.send(1)
    world.bus.state.reachable = False
    assert world.manager.run_once(0) == 0
    assert world.manager.failures_in_a_row == 1
    world.bus.state.reachable = True
    assert world.manager.run_once(0) == 1
    assert world.manager.failures_in_a_row == 0


def test_a_rewind_that_fails_leaves_the_group_and_joins_anew(world: KernelHarness) -> None:
    world.send(1)
    first = world.manager.consumer
    first.rewind = raising(UNREACHABLE)  # type: ignore[method-assign]
    world.handler.unavailable = 1
    assert world.manager.run_once(0) == 0
    assert world.manager.consumer is not first
    assert world.manager.run_once(0) == 1
    assert world.rows("seen") == {saga_id(1): 1}


def test_leaving_an_unreachable_group_is_no_crash(world: KernelHarness) -> None:
    world.send(1)
    first = world.manager.consumer
    first.rewind = raising(UNREACHABLE)  # type: ignore[method-assign]
    first.close = raising(UNREACHABLE)  # type: ignore[method-assign]
    world.handler.unavailable = 1
    assert world.manager.run_once(0) == 0
    world.clock.now_ms += 60_000
    assert world.manager.run_once(0) == 1
    world.bus.state.reachable = False
    world.manager.close()


def test_a_closed_manager_leaves_its_partitions_to_others(world: KernelHarness) -> None:
    world.manager.run_once(0)
    assert world.manager.partitions() == frozenset(range(PARTITIONS_EMBEDDED))
    assert world.manager.joined
    world.manager.close()
    other = world.new_manager()
    other.run_once(0)
    assert other.partitions() == frozenset(range(PARTITIONS_EMBEDDED))


def test_loops_that_wait_for_batches_are_woken_before_the_offsets(world: KernelHarness) -> None:
    woken: list[int] = []
    world.manager.after_batch.append(lambda: woken.append(world.committed()))
    world.manager.run_once(0)
    assert not woken
    world.send(1)
    world.manager.run_once(0)
    assert woken == [0]


# -- requests


def answering(value: object) -> Callable[[MemoryTransaction], tuple[HandlerResult, Any]]:
    """Return work that leaves a mark and answers."""

    def work(tx: MemoryTransaction) -> tuple[HandlerResult, Any]:
        tx.table("seen")["request"] = value
        return HandlerResult(), value

    return work


def test_a_request_runs_on_the_writer_and_its_future_gets_the_answer(world: KernelHarness) -> None:
    future = world.manager.submit(answering(42))
    assert not future.done()
    world.manager.run_once(0)
    assert future.result(0) == 42
    assert world.rows("seen") == {"request": 42}


@pytest.mark.parametrize("error", [ZeroDivisionError("bug"), StoreUnavailable("down")], ids=repr)
def test_a_failed_request_fails_for_its_own_caller(world: KernelHarness, error: Exception) -> None:
    world.send(1)
    failing = world.manager.submit(raising(error))
    after = world.manager.submit(answering("fine"))
    assert world.manager.run_once(0) == 1
    assert failing.exception(0) is error
    assert after.result(0) == "fine"


def test_a_request_that_was_given_up_is_not_run(world: KernelHarness) -> None:
    future = world.manager.submit(answering(42))
    assert future.cancel()
    world.manager.run_once(0)
    assert not world.rows("seen")


def test_a_request_ends_a_waiting_poll(world: KernelHarness) -> None:
    woken: list[bool] = []
    world.manager.consumer.wake = lambda: woken.append(True)  # type: ignore[method-assign]
    world.manager.submit(answering(1))
    assert woken == [True]


# -- tasks


def test_periodic_tasks_run_when_they_are_due_and_commit_through_the_manager(world: KernelHarness) -> None:
    ran: list[int] = []

    def task(manager: Any) -> None:
        ran.append(world.clock.now_ms)
        manager.commit(lambda tx: answering(len(ran))(tx)[0])

    manager = world.new_manager([PeriodicTask("count", 1_000, task)])
    start = world.clock.now_ms
    for _ in range(25):
        manager.run_once(0)
        world.clock.now_ms += 100
    assert ran == [start, start + 1_000, start + 2_000]
    assert world.rows("seen") == {"request": 3}


@pytest.mark.parametrize("error", [StoreUnavailable("down"), BusUnavailable("down")], ids=repr)
def test_a_periodic_task_that_fails_transiently_ends_the_round_and_is_tried_again(
    world: KernelHarness, error: Exception
) -> None:
    errors = [error]
    ran: list[int] = []

    def task(_: Any) -> None:
        ran.append(world.clock.now_ms)
        if errors:
            raise errors.pop()

    manager = world.new_manager([PeriodicTask("flaky", 1_000, task)])
    world.send(1)
    assert manager.run_once(0) == 0
    assert manager.failures_in_a_row == 1
    assert manager.run_once(0) == 1
    world.clock.now_ms += 1_000
    manager.run_once(0)
    assert len(ran) == 2
