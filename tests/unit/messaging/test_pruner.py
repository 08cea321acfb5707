"""The pruner: pages, pauses, passes, one instance at a time; and what it leaves alone."""

import pytest
from tests.unit.messaging.kernel_harness import Clock

from holdfast.bus.memory import MemoryBus
from holdfast.messaging.components import Ports
from holdfast.messaging.fence import Fence, FenceState
from holdfast.messaging.ids import uuid7, uuid7_floor
from holdfast.messaging.memory_store import MemoryStore, MemoryTransaction
from holdfast.messaging.pruner import PAGE_ROWS, REST_MAX_S, Pruner, Retention, fences
from holdfast.messaging.store import StoreUnavailable

KEEP_MS = 30 * 86_400_000
EVERY_MS = 600_000
RETENTION = Retention(KEEP_MS, KEEP_MS, EVERY_MS)


class Place:
    """A participant's database with a pruner or two on it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(MemoryTransaction, self.clock)

    def pruner(self, instance: str = "me") -> Pruner[MemoryTransaction]:
        bus = MemoryBus(lambda: self.clock.now_ms / 1000)
        return Pruner(
            Ports(self.store, bus, self.clock, instance, 4), RETENTION, [fences("inventory", KEEP_MS)]
        )

    def put(self, count: int, state: FenceState = FenceState.CONFIRMED) -> list[str]:
        ids = [str(uuid7(self.clock.now_ms, n)) for n in range(count)]
        with self.store.transaction() as tx:
            tx.save_fences("inventory", [Fence(saga_id, state) for saga_id in ids], ())
        return ids

    def left(self) -> set[str]:
        return {saga_id for saga_id, _ in self.store.tables.tables.get("fence", {})}


def finish_pass(pruner: Pruner[MemoryTransaction]) -> int:
    """Step until a pass ends; return how many steps that took."""
    passes, steps = pruner.passes, 0
    while pruner.passes == passes:
        pruner.prune_page()
        steps += 1
        assert steps < 100
    return steps


def test_old_rows_go_a_page_at_a_time_and_young_ones_stay() -> None:
    place = Place()
    place.put(2 * PAGE_ROWS + 1)
    place.clock.now_ms += KEEP_MS
    young = place.put(1)
    place.clock.now_ms += 1
    pruner = place.pruner()
    assert pruner.prune_page() < 1
    assert len(place.left()) == PAGE_ROWS + 2
    assert finish_pass(pruner) == 3  # the parked records are looked at, too
    assert place.left() == set(young)
    assert pruner.rows == {"fence": 2 * PAGE_ROWS + 1, "parked": 0}
    assert pruner.last_pass_ms == place.clock.now_ms
    with place.store.transaction() as tx:
        assert tx.pruned_before("fence") == uuid7_floor(place.clock.now_ms - KEEP_MS)


@pytest.mark.parametrize("state", [FenceState.RUNNING, FenceState.DONE, FenceState.UNDOING])
def test_what_has_not_come_to_rest_stays_however_old(state: FenceState) -> None:
    place = Place()
    ids = place.put(3, state)
    place.clock.now_ms += 10 * KEEP_MS
    pruner = place.pruner()
    finish_pass(pruner)
    assert place.left() == set(ids)
    with place.store.transaction() as tx:
        assert tx.pruned_before("fence") == ""


def test_an_old_saga_that_has_just_ended_stays() -> None:
    place = Place()
    [saga_id] = place.put(1, FenceState.DONE)
    place.clock.now_ms += KEEP_MS + 1
    with place.store.transaction() as tx:
        tx.save_fences("inventory", [Fence(saga_id, FenceState.CONFIRMED)], ())
    pruner = place.pruner()
    finish_pass(pruner)
    assert place.left() == {saga_id}
    place.clock.now_ms += KEEP_MS
    finish_pass(pruner)
    assert place.left() == set()


def test_after_a_pass_it_rests_until_the_next_is_due() -> None:
    place = Place()
    pruner = place.pruner()
    finish_pass(pruner)
    place.put(1)
    place.clock.now_ms += KEEP_MS
    pruner._next_pass_ms = place.clock.now_ms + EVERY_MS
    place.clock.now_ms += EVERY_MS - 1
    assert pruner.prune_page() == 0.001
    assert len(place.left()) == 1
    place.clock.now_ms += 1
    finish_pass(pruner)
    assert place.left() == set()


def test_a_long_rest_is_cut_short_so_that_its_loop_shows_signs_of_life() -> None:
    pruner = Place().pruner()
    finish_pass(pruner)
    assert pruner.prune_page() == REST_MAX_S


def test_one_instance_prunes_at_a_time_and_another_takes_over() -> None:
    place = Place()
    place.put(PAGE_ROWS + 1)
    place.clock.now_ms += KEEP_MS + 1
    one, two = place.pruner("one"), place.pruner("two")
    one.prune_page()  # and is never heard of again
    two.prune_page()
    assert (one.rows["fence"], two.rows["fence"]) == (PAGE_ROWS, 0)
    place.clock.now_ms += EVERY_MS
    finish_pass(two)
    assert place.left() == set()


def test_trouble_leaves_the_page_to_a_later_step() -> None:
    place = Place()
    place.put(1)
    place.clock.now_ms += KEEP_MS + 1
    pruner = place.pruner()
    clock, place.store._now_ms = place.store._now_ms, _down
    assert pruner.run_once() == REST_MAX_S
    place.store._now_ms = clock
    pruner.run_once()
    assert place.left() == set()


def _down() -> int:
    raise StoreUnavailable("as scripted")
