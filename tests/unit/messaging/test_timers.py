"""Deadlines: which timers fire, and when silence is believed (protocol, lines 13 to 15)."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.samples import SAMPLES, saga_id
from tests.unit.messaging.kernel_harness import UNREACHABLE, KernelHarness, command

from holdfast.bus.partitioner import partition_of
from holdfast.contracts.codec import encode
from holdfast.contracts.topics import INVENTORY_COMMANDS, PARTITIONS_EMBEDDED
from holdfast.messaging.backoff import backoff_ms
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.handler import HandlerResult, OutboxMessage
from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.producer import ProducerManager
from holdfast.messaging.store import TimerKey, TimerRow
from holdfast.messaging.timers import DEADLINE, Deadlines, FiredTimer, TimerSettings

SETTINGS = TimerSettings(patience_of_step_ms={"payment": 300_000})
SAGA = saga_id(1)
PARTITION = partition_of(SAGA.encode(), PARTITIONS_EMBEDDED)


class Breaker:
    """A breaker that is open when told so."""

    def __init__(self) -> None:
        self.open = False

    def guard(self) -> AbstractContextManager[None]:
        return nullcontext()

    def is_open(self) -> bool:
        return self.open


class DeadlineWorld(KernelHarness):
    """The world with a deadlines task whose fired timers are noted; each sends the command again."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.fired: list[FiredTimer] = []
        producer = ProducerManager(self.bus, self.breaker)
        self.deadlines = Deadlines(SETTINGS, INVENTORY_COMMANDS, self.fire, producer)
        self.manager.run_once(0)  # joins the group

    def fire(self, tx: MemoryTransaction, timers: Sequence[FiredTimer]) -> HandlerResult:
        self.fired += timers
        value = encode(SAMPLES["ReserveInventory"])
        handled = HandlerResult()
        for timer in timers:
            saga = timer.row.key.saga_id
            handled.messages_to_seal.append(
                OutboxMessage(f"{saga}:inventory:do", "ReserveInventory", saga, value)
            )
            handled.fired.append(SETTINGS.again(timer, tx.now_ms()))
        return handled

    def set(self, *rows: TimerRow) -> None:
        with self.store.transaction() as tx:
            tx.set_timers(rows)

    def run(self) -> list[FiredTimer]:
        """Let the task run once; return what fired."""
        self.fired = []
        self.deadlines.run_once(self.manager)
        return self.fired

    def overdue(self, **changes: int) -> TimerRow:
        """Return a timer for which every condition of being overdue holds, with some fields changed."""
        now = self.clock.now_ms
        row = TimerRow(
            TimerKey(SAGA, "inventory", "do"),
            DEADLINE,
            PARTITION,
            since_ms=now - SETTINGS.patience_ms,
            due_ms=now,
            fired=2,
        )
        return row._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def world() -> DeadlineWorld:
    return DeadlineWorld()


def test_line_14_two_firings_and_patience_make_a_timer_overdue(world: DeadlineWorld) -> None:
    world.set(world.overdue())
    assert [timer.overdue for timer in world.run()] == [True]


def test_line_13_only_the_databases_clock_makes_a_timer_overdue(world: DeadlineWorld) -> None:
    """That of the process is five seconds ahead."""
    world.manager.close()
    clock = world.clock
    ahead = KafkaConsumerManager(
        world.bus, [INVENTORY_COMMANDS], world.processor, world.relay, lambda: clock.now_ms + 5_000
    )
    ahead.run_once(0)
    world.set(world.overdue(since_ms=clock.now_ms - SETTINGS.patience_ms + 1))
    world.deadlines.run_once(ahead)
    assert [timer.overdue for timer in world.fired] == [False]
    clock.now_ms += 1
    world.set(world.overdue())
    world.deadlines.run_once(ahead)
    assert [timer.overdue for timer in world.fired] == [False, True]


@pytest.mark.parametrize("fired", [0, 1])
def test_line_14_never_before_two_firings(world: DeadlineWorld, fired: int) -> None:
    world.set(world.overdue(fired=fired))
    assert [timer.overdue for timer in world.run()] == [False]


def test_line_14_never_before_the_steps_patience(world: DeadlineWorld) -> None:
    world.set(world.overdue(since_ms=world.clock.now_ms - SETTINGS.patience_ms + 1))
    assert [timer.overdue for timer in world.run()] == [False]


def test_line_14_a_payment_has_more_patience(world: DeadlineWorld) -> None:
    row = world.overdue()._replace(key=TimerKey(SAGA, "payment", "do"))
    world.set(row)
    assert [timer.overdue for timer in world.run()] == [False]
    world.set(row._replace(since_ms=world.clock.now_ms - 300_000))
    assert [timer.overdue for timer in world.run()] == [True]


def test_line_14_never_while_what_it_sent_is_still_in_the_outbox(world: DeadlineWorld) -> None:
    with world.store.transaction() as tx:
        lying = tx.append_outbox([command(1)]).id
    world.set(world.overdue(outbox_id=lying))
    assert [timer.overdue for timer in world.run()] == [False]
    with world.store.transaction() as tx:
        tx.forget_outbox([lying])
    world.set(world.overdue(outbox_id=lying))
    assert [timer.overdue for timer in world.run()] == [True]


def test_line_14_never_before_the_answers_of_its_time_are_read(world: DeadlineWorld) -> None:
    world.send(1, 1, 1)
    world.set(world.overdue(end_offset=3))
    assert [timer.overdue for timer in world.run()] == [False]
    world.manager.run_once(0)
    world.set(world.overdue(end_offset=3))
    assert [timer.overdue for timer in world.run()] == [True]


def test_line_14_never_while_our_own_breaker_is_open(world: DeadlineWorld) -> None:
    world.breaker.open = True
    world.set(world.overdue())
    assert [timer.overdue for timer in world.run()] == [False]


def test_line_14_a_firing_stores_what_it_sent_and_how_far_the_events_reached(world: DeadlineWorld) -> None:
    world.send(1, 1)
    before = world.overdue()
    world.set(before)
    world.run()
    [outbox_id] = world.rows("outbox")
    [after] = world.rows("timers").values()
    assert (after.fired, after.outbox_id, after.end_offset) == (3, outbox_id, 2)
    assert (after.key, after.since_ms) == (before.key, before.since_ms)
    assert after.due_ms > world.clock.now_ms
    assert world.run() == []


def test_line_13_a_timer_fires_only_where_its_partition_is_owned(world: DeadlineWorld) -> None:
    world.set(world.overdue())
    world.manager.close()
    assert world.run() == []
    other = world.bus.consumer("inventory-write", [INVENTORY_COMMANDS])
    other.poll(1, 0)
    world.manager.run_once(0)
    assert world.manager.partitions() == frozenset()
    assert world.run() == []


def test_a_timer_that_is_not_due_does_not_fire(world: DeadlineWorld) -> None:
    world.set(world.overdue(due_ms=world.clock.now_ms + 1))
    assert world.run() == []
    world.clock.now_ms += 1
    assert len(world.run()) == 1


def test_line_15_a_row_due_further_ahead_than_the_horizon_is_due(world: DeadlineWorld) -> None:
    horizon = SETTINGS.horizon_ms
    world.set(world.overdue(due_ms=world.clock.now_ms + horizon))
    assert world.run() == []
    world.set(world.overdue(due_ms=world.clock.now_ms + horizon + 1))
    assert len(world.run()) == 1


def test_line_15_a_clock_that_jumped_back_expires_nothing(world: DeadlineWorld) -> None:
    world.set(world.overdue())
    world.clock.now_ms -= 86_400_000
    assert [timer.overdue for timer in world.run()] == [False]


def test_an_unreachable_bus_fires_nothing(world: DeadlineWorld) -> None:
    world.set(world.overdue())
    world.bus.state.reachable = False
    with pytest.raises(type(UNREACHABLE)):
        world.run()
    assert not world.fired
    assert world.rows("timers") == {world.overdue().key: world.overdue()}


@given(fired=st.integers(0, 200), now_ms=st.integers(0, 2**42), saga=st.integers(1, 10_000))
def test_line_14_each_wait_grows_to_its_cap_with_jitter(fired: int, now_ms: int, saga: int) -> None:
    row = TimerRow(TimerKey(saga_id(saga), "payment", "do"), DEADLINE, 0, 0, 0, fired=fired)
    again = SETTINGS.again(FiredTimer(row, overdue=False, end_offset=9), now_ms)
    full = min(SETTINGS.backoff_cap_ms, SETTINGS.resend_after_ms * 2**fired)
    assert full // 2 <= again.due_ms - now_ms <= full
    assert again == SETTINGS.again(FiredTimer(row, overdue=True, end_offset=9), now_ms), "no chance in it"
    assert (again.fired, again.end_offset) == (fired + 1, 9)


def test_jitter_spreads_the_firings_of_many_sagas() -> None:
    waits = {backoff_ms(4, 5_000, 30_000, f"{saga_id(n)}:inventory:do") for n in range(200)}
    assert len(waits) > 150
    assert max(waits) - min(waits) > 10_000


@given(attempt=st.integers(1, 10_000), base=st.integers(1, 10_000), cap=st.integers(1, 10**7))
def test_a_backoff_is_between_half_and_all_of_what_it_may_be(attempt: int, base: int, cap: int) -> None:
    full = min(cap, base * 2 ** min(attempt - 1, 30))
    assert full // 2 <= backoff_ms(attempt, base, cap, "seed") <= full


@pytest.mark.parametrize("wrong", [{"backoff_cap_ms": 120_000}, {"resend_after_ms": 120_000}])
def test_a_horizon_below_the_largest_wait_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="horizon_ms must be above"):
        TimerSettings(**wrong)  # type: ignore[arg-type]
