"""The kernel's small parts: asking, the publisher, crash points, message ids."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.messaging.kernel_harness import UNREACHABLE, KernelHarness, command

from holdfast.bus.partitioner import partition_of
from holdfast.bus.port import BusUnavailable
from holdfast.contracts.topics import EVENTS, INVENTORY_COMMANDS, PARTITIONS_EMBEDDED
from holdfast.messaging import crashpoints, outcome_poller
from holdfast.messaging.fence import Fence, FenceState
from holdfast.messaging.ids import uuid7_floor
from holdfast.messaging.outcome_poller import ASK_EVERY_MS, OutcomePoller
from holdfast.messaging.producer import BreakerOpen, ProducerManager

# -- asking (protocol, line 12)


class AskingWorld(KernelHarness):
    """A participant with held rows of chosen ages."""

    def __init__(self) -> None:
        super().__init__()
        self.asking = OutcomePoller("inventory", PARTITIONS_EMBEDDED, self.clock)
        self.manager.run_once(0)

    def hold(self, age_ms: int, state: FenceState = FenceState.DONE) -> str:
        saga = uuid7_floor(self.clock.now_ms - age_ms)
        with self.store.transaction() as tx:
            tx.save_fences("inventory", [Fence(saga, state)], ())
        return saga

    def asked(self) -> list[str]:
        """Let the task run once; return the sagas it asked about."""
        before = Counter(self._questions())
        self.asking.run_once(self.manager)
        self.relay.run_once(0)
        return sorted((Counter(self._questions()) - before).elements())

    def _questions(self) -> list[str]:
        records = self.on_topic(EVENTS)
        assert all(dict(record.headers)["ce_type"] == b"OutcomeRequested" for record in records)
        return [(record.key or b"").decode() for record in records]


def test_line_12_a_row_that_stays_done_asks_and_asks_again() -> None:
    world = AskingWorld()
    saga = world.hold(age_ms=ASK_EVERY_MS + 1)
    assert world.asked() == [saga]
    assert world.asked() == [], "once in its time"
    world.clock.now_ms += ASK_EVERY_MS
    assert world.asked() == [saga]
    ids = [dict(record.headers)["ce_id"].decode() for record in world.on_topic(EVENTS)]
    assert len(set(ids)) == 2
    assert all(message_id.startswith(f"{saga}:inventory:ask:") for message_id in ids)


@pytest.mark.parametrize("state", [state for state in FenceState if state is not FenceState.DONE])
def test_line_12_no_other_row_asks(state: FenceState) -> None:
    world = AskingWorld()
    world.hold(ASK_EVERY_MS + 1, state)
    assert world.asked() == []


def test_line_12_a_young_row_does_not_ask_yet() -> None:
    world = AskingWorld()
    world.hold(ASK_EVERY_MS - 1)
    assert world.asked() == []
    world.clock.now_ms += ASK_EVERY_MS
    assert len(world.asked()) == 1


def test_many_held_rows_are_asked_for_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_poller, "ROWS_MAX", 2)
    world = AskingWorld()
    held = [world.hold(ASK_EVERY_MS + age) for age in (50, 40, 30, 20, 10)]
    assert [world.asked() for _ in range(4)] == [held[:2], held[2:4], held[4:], []]


def test_where_little_is_held_a_page_ends_by_the_keys_that_were_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outcome_poller, "KEYS_MAX", 2)
    world = AskingWorld()
    for age in (60, 50, 40):
        world.hold(ASK_EVERY_MS + age, FenceState.CONFIRMED)
    held = [world.hold(ASK_EVERY_MS + age) for age in (30, 20)]
    assert [world.asked() for _ in range(4)] == [[], held[:1], held[1:], []]


def test_a_pass_begins_at_the_oldest_row_that_is_still_held() -> None:
    world = AskingWorld()
    oldest, young = world.hold(3 * ASK_EVERY_MS), world.hold(ASK_EVERY_MS + 5)
    assert world.asked() == [oldest, young]
    with world.store.transaction() as tx:
        tx.save_fences("inventory", [Fence(oldest, FenceState.CONFIRMED)], ())
    for _ in range(2):
        world.clock.now_ms += ASK_EVERY_MS
        assert world.asked() == [young]


def test_a_row_held_for_very_long_is_asked_about_in_every_pass() -> None:
    world = AskingWorld()
    old = world.hold(30 * outcome_poller.LATE_MS)
    for _ in range(3):
        assert world.asked() == [old]
        world.clock.now_ms += ASK_EVERY_MS


def test_a_step_that_was_done_late_is_asked_about_too() -> None:
    """Its key is older than any row that the last pass found held."""
    world = AskingWorld()
    assert world.asked() == []
    world.clock.now_ms += ASK_EVERY_MS
    late = world.hold(ASK_EVERY_MS + outcome_poller.LATE_MS - 1)
    assert world.asked() == [late]


def test_every_so_often_a_pass_reads_all() -> None:
    world = AskingWorld()
    assert world.asked() == []
    very_late = world.hold(5 * outcome_poller.LATE_MS)
    found = []
    for _ in range(outcome_poller.PASSES_TO_A_FULL_ONE):
        world.clock.now_ms += ASK_EVERY_MS
        found.append(world.asked())
    assert found == [[]] * (outcome_poller.PASSES_TO_A_FULL_ONE - 1) + [[very_late]]


def test_only_the_owner_of_the_partition_asks() -> None:
    world = AskingWorld()
    other = world.bus.consumer("inventory-write", [INVENTORY_COMMANDS])
    for _ in range(4):
        world.clock.now_ms += 4_000
        other.poll(1, 0)
        world.manager.run_once(0)
    owned = world.manager.partitions()
    assert len(owned) == 2
    held = [world.hold(ASK_EVERY_MS + age) for age in range(1, 30)]
    assert set(world.asked()) == {
        saga for saga in held if partition_of(saga.encode(), PARTITIONS_EMBEDDED) in owned
    }


@given(st.integers(0, 2**48 - 1))
def test_the_smallest_key_of_a_moment_sorts_between_its_neighbours(at_ms: int) -> None:
    floor = UUID(uuid7_floor(at_ms))
    assert floor.int >> 80 == at_ms
    assert str(floor) == uuid7_floor(at_ms)
    if at_ms:
        assert uuid7_floor(at_ms - 1) < str(floor)


# -- the publisher


class CountingGuard:
    """A breaker that admits while `open` is false, and notes how calls ended."""

    def __init__(self) -> None:
        self.open = False
        self.ends: list[str] = []

    @contextmanager
    def guard(self) -> Iterator[None]:
        if self.open:
            raise BreakerOpen(1.5)
        try:
            yield
        except BusUnavailable:
            self.ends.append("failure")
            raise
        self.ends.append("success")

    def is_open(self) -> bool:
        return self.open


def test_the_breaker_guards_the_delivery_not_the_queueing() -> None:
    world, guard = KernelHarness(), CountingGuard()
    world.relay.producer = ProducerManager(world.relay.producer._bus, guard)
    world.publisher.errors = [UNREACHABLE]
    world.relay.submit_rows([(1, [command(1)])])
    world.relay.run_once(0)
    world.relay.run_once(0)
    assert guard.ends == ["failure", "success"]


def test_line_22_an_open_breaker_spends_no_attempt_and_loses_no_row() -> None:
    world, guard = KernelHarness(), CountingGuard()
    producer = world.relay.producer = ProducerManager(world.relay.producer._bus, guard)
    guard.open = True
    world.relay.submit_rows([(1, [command(1)])])
    assert not world.relay.run_once(0)
    assert not world.publisher.batches
    assert producer.is_open()
    assert world.relay.retry_after_ms() == 1500, "it rests until a probe is admitted"
    guard.open = False
    assert world.relay.run_once(0)
    assert world.relay.retry_after_ms() == 0
    assert world.relay.take_published() == [1]


def test_a_closed_publisher_is_opened_anew() -> None:
    world = KernelHarness()
    producer = world.relay.producer
    producer.close()
    assert not world.publisher.batches, "nothing to close yet"
    producer.publish([command(1)])
    producer.close()
    producer.publish([command(2)])
    producer.publish([command(3)])
    assert world.publisher.batches == [[command(1)], [], [command(2)], [command(3)]]
    assert world.publisher.opened == 2
    assert not producer.is_open()


# -- crash points


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Note who would be killed, and disarm afterwards."""
    kills: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, sig: kills.append((pid, sig)))
    monkeypatch.setattr(crashpoints, "_visitor", None)
    return kills


def test_a_crash_point_kills_at_the_visit_it_was_armed_for(killed: list[tuple[int, int]]) -> None:
    crashpoints.arm("publish.before", 3)
    crashpoints.crashpoint("publish.after")
    crashpoints.crashpoint("publish.before")
    crashpoints.crashpoint("publish.before")
    assert not killed
    crashpoints.crashpoint("publish.before")
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_unarmed_crash_points_do_nothing(killed: list[tuple[int, int]]) -> None:
    for name in crashpoints.CRASHPOINTS:
        crashpoints.crashpoint(name)
    assert not killed


@pytest.mark.parametrize(("name", "visit"), [("no.such", 1), ("publish.before", 0)])
def test_a_crash_point_that_cannot_be_reached_is_refused(name: str, visit: int) -> None:
    with pytest.raises(ValueError, match="crash"):
        crashpoints.arm(name, visit)


def test_a_batch_passes_its_crash_points_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    visited: list[str] = []
    for module in ("batch_processor", "consumer", "producer"):
        monkeypatch.setattr(f"holdfast.messaging.{module}.crashpoint", visited.append)
    world = KernelHarness()
    world.send(1)
    world.manager.run_once(0)
    world.relay.run_once(0)
    assert visited == [
        "batch.before_commit",
        "batch.after_commit",
        "offsets.before_commit",
        "offsets.after_commit",
        "publish.before",
        "publish.after",
    ]
    assert set(visited) < set(crashpoints.CRASHPOINTS)
