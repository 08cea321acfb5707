"""A database's clock that jumped back, or ahead and back: nothing waits for it to catch up."""

from uuid import UUID

import pytest
from tests.unit.messaging.kernel_harness import KernelHarness, command

from holdfast.contracts.topics import EVENTS, PARTITIONS_EMBEDDED
from holdfast.messaging.fence import Fence, FenceState
from holdfast.messaging.ids import uuid7
from holdfast.messaging.outbox_rescuer import LEASE_MS, STALE_AFTER_MS, OutboxRescuer
from holdfast.messaging.outcome_poller import ASK_EVERY_MS, LATE_MS, PASSES_TO_A_FULL_ONE, OutcomePoller

DAY_MS = 86_400_000


@pytest.fixture
def world() -> KernelHarness:
    return KernelHarness()


def test_a_row_dated_ahead_is_published_all_the_same(world: KernelHarness) -> None:
    world.clock.now_ms += DAY_MS
    with world.store.transaction() as tx:
        tx.append_outbox([command(1)])
        assert tx.take_lease("relay", "dead", LEASE_MS)
    world.clock.now_ms -= DAY_MS
    net = OutboxRescuer("me")
    net.run_once(world.manager)
    assert net.age_ms == DAY_MS
    assert world.relay.waiting() == 1, "neither the row's date nor the lease's end is waited for"


def test_a_row_dated_a_little_ahead_is_left_to_whoever_wrote_it(world: KernelHarness) -> None:
    with world.store.transaction() as tx:
        tx.append_outbox([command(1)])
    world.clock.now_ms -= STALE_AFTER_MS - 1
    OutboxRescuer("me").run_once(world.manager)
    assert world.relay.is_idle()


class Held:
    """A participant that holds what it is told to hold, and asks."""

    def __init__(self, world: KernelHarness) -> None:
        self.world = world
        self.asking = OutcomePoller("inventory", PARTITIONS_EMBEDDED, world.clock)
        world.manager.run_once(0)

    def hold(self, accepted_ms: int) -> str:
        saga: UUID = uuid7(accepted_ms, accepted_ms)
        with self.world.store.transaction() as tx:
            tx.save_fences("inventory", [Fence(str(saga), FenceState.DONE)], ())
        return str(saga)

    def ask(self) -> set[str]:
        """Make the next pass; return who was asked for."""
        before = len(self.world.on_topic(EVENTS))
        self.world.clock.now_ms += ASK_EVERY_MS
        self.world.manager.consumer.poll(1, 0)
        self.asking.run_once(self.world.manager)
        self.world.relay.run_once(0)
        return {(record.key or b"").decode() for record in self.world.on_topic(EVENTS)[before:]}


def test_a_step_that_was_done_long_after_its_saga_was_accepted_is_asked_for(world: KernelHarness) -> None:
    held = Held(world)
    accepted_ms = world.clock.now_ms
    for _ in range(4):
        assert held.ask() == set()
    assert world.clock.now_ms - accepted_ms < LATE_MS
    late = held.hold(accepted_ms)
    assert held.ask() == {late}


def test_a_step_that_was_done_even_later_is_asked_for_by_a_full_pass(world: KernelHarness) -> None:
    held = Held(world)
    assert held.ask() == set()
    late = held.hold(world.clock.now_ms - 5 * DAY_MS)
    passes = [held.ask() for _ in range(PASSES_TO_A_FULL_ONE)]
    assert {late} in passes


def test_a_clock_that_jumped_ahead_for_one_pass_leaves_nobody_out(world: KernelHarness) -> None:
    held = Held(world)
    held.ask()
    world.store._now_ms = lambda: world.clock.now_ms + DAY_MS
    held.ask()
    world.store._now_ms = world.clock
    mine = held.hold(world.clock.now_ms - 1)
    assert held.ask() == {mine}
