"""The memory store's transactions: visible to themselves at once, to others at commit, or never."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.samples import saga_id
from tests.unit.messaging.kernel_harness import Clock, command

from holdfast.messaging.fence import Fence, FenceState
from holdfast.messaging.memory_store import MemoryStore, MemoryTransaction, Overlay

KEYS = st.integers(0, 5)
CHANGES = st.lists(
    st.tuples(st.just("set"), KEYS, st.integers())
    | st.tuples(st.just("delete"), KEYS, st.none())
    | st.tuples(st.just("pop"), KEYS, st.none()),
    max_size=12,
)


@given(st.dictionaries(KEYS, st.integers()), CHANGES)
def test_an_overlay_reads_as_the_dict_it_will_be_and_its_base_stays_until_commit(
    base: dict[int, int], changes: list[tuple[str, int, Any]]
) -> None:
    untouched, model = dict(base), dict(base)
    overlay = Overlay(base)
    for action, key, value in changes:
        if action == "set":
            overlay[key] = model[key] = value
        elif action == "pop":
            assert overlay.pop(key, None) == model.pop(key, None)
        elif key in model:
            del overlay[key], model[key]
        else:
            with pytest.raises(KeyError):
                del overlay[key]
        assert dict(overlay) == model
        assert len(overlay) == len(model)
        assert all((k in overlay) == (k in model) for k in range(7))
        assert base == untouched
    overlay.commit()
    assert base == model


@pytest.fixture
def store() -> MemoryStore[MemoryTransaction]:
    return MemoryStore(MemoryTransaction, Clock())


def test_a_transaction_is_seen_by_others_at_its_commit(store: MemoryStore[MemoryTransaction]) -> None:
    with store.transaction() as tx:
        tx.table("t")["k"] = 1
        with store.transaction() as other:
            assert "k" not in other.table("t")
    with store.transaction() as tx:
        assert tx.table("t")["k"] == 1


def test_an_exception_rolls_every_table_back(store: MemoryStore[MemoryTransaction]) -> None:
    fence = Fence(saga_id(1), FenceState.DONE)
    with store.transaction() as tx:
        tx.save_fences("s", [fence], ())
    _write_and_fail(store, fence._replace(state=FenceState.UNDONE))
    with store.transaction() as tx:
        assert "k" not in tx.table("t")
        assert tx.lock_fences("s", [saga_id(1)]) == {saga_id(1): fence}
        assert tx.outbox_age_ms() == 0
        assert tx.stale_outbox(0, 10) == []


def _write_and_fail(store: MemoryStore[MemoryTransaction], fence: Fence) -> None:
    with suppress(ZeroDivisionError), store.transaction() as tx:
        tx.table("t")["k"] = 1
        tx.save_fences("s", [fence], ())
        tx.append_outbox([command(1)])
        raise ZeroDivisionError


def test_row_ids_are_never_used_twice_even_after_a_rollback(store: MemoryStore[MemoryTransaction]) -> None:
    ids = []
    for _ in range(3):
        _write_and_fail(store, Fence(saga_id(1), FenceState.DONE))
        with store.transaction() as tx:
            ids.append(tx.append_outbox([command(1)]).id)
    assert ids == sorted(set(ids))
    with store.transaction() as tx:
        assert [row_id for row_id, _ in tx.stale_outbox(0, 10)] == ids


def test_time_stands_still_inside_a_transaction() -> None:
    clock = Clock()
    store = MemoryStore(MemoryTransaction, clock)
    with store.transaction() as tx:
        before = tx.now_ms()
        clock.now_ms += 5
        assert tx.now_ms() == before


def test_starts_are_counted_until_the_offset_moves(store: MemoryStore[MemoryTransaction]) -> None:
    with store.transaction() as tx:
        assert [tx.count_start("t:0", 7) for _ in range(3)] == [1, 2, 3]
        assert tx.count_start("t:1", 7) == 1
        assert tx.count_start("t:0", 8) == 1
        assert tx.count_start("t:0", 7) == 1
