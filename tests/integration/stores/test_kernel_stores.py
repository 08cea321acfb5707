"""The kernel's tables in PostgreSQL and in memory: the same operations read the same."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.stores.store_pairs import HOUR_MS, START_MS, StorePair, Work, in_turn, sequences
from tests.samples import saga_id

from holdfast.bus.port import Message, Record, TopicPartition
from holdfast.contracts.topics import EVENTS, GATEWAY, ORCHESTRATOR
from holdfast.messaging.database import PostgresTransaction
from holdfast.messaging.fence import Fence, FenceState
from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.parked import DeadLetterFilter, LogPosition, ParkedRecord
from holdfast.messaging.store import OperatorAction, Pruned, PrunePage, TimerKey, TimerRow
from holdfast.messaging.timers import DEADLINE, RESOLVE


@pytest.fixture
def store_pair(database: str) -> Iterator[StorePair]:
    store_pair = StorePair(database, "", PostgresTransaction, MemoryTransaction)
    yield store_pair
    store_pair.close()


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
BYTES = st.binary(max_size=8)
HEADER = st.tuples(TEXT, BYTES)
HEADERS = st.lists(HEADER, max_size=3).map(tuple)
SAGAS = st.integers(1, 4).map(saga_id)
STEPS = st.sampled_from(["inventory", "payment"])


def appends() -> st.SearchStrategy[Work]:
    message = st.builds(Message, TEXT, BYTES, st.none() | BYTES, HEADERS)
    return st.lists(message, min_size=1, max_size=3).map(
        lambda batch: lambda tx: tx.outbox_id(tx.append_outbox(batch))
    )


def forgets() -> st.SearchStrategy[Work]:
    return st.lists(st.integers(1, 6)).map(lambda ids: lambda tx: tx.forget_outbox(ids))


def outbox_reads() -> st.SearchStrategy[Work]:
    ages = st.sampled_from([0, HOUR_MS])
    lying = st.builds(lambda age, n: lambda tx: tx.stale_outbox(age, n), ages, st.integers(1, 3))
    holds = st.lists(st.integers(1, 8)).map(lambda ids: lambda tx: tx.outbox_holds(ids))
    return lying | holds | st.just(lambda tx: tx.outbox_age_ms() < HOUR_MS)


def parkings() -> st.SearchStrategy[Work]:
    record = st.builds(
        Record,
        st.just(EVENTS),
        st.integers(0, 1),
        st.integers(0, 3),
        st.none() | BYTES,
        st.none() | BYTES,
        HEADERS,
        st.just(0),
        st.none() | st.sampled_from([ORCHESTRATOR, GATEWAY]),
    )
    parked = st.builds(
        ParkedRecord, record, TEXT, TEXT, st.none() | TEXT, st.none() | SAGAS, st.integers(1, 3)
    )
    unique = st.lists(parked, max_size=3, unique_by=lambda p: p.place)
    return unique.map(lambda rows: lambda tx: _timeless(tx.park(rows)))


def dead_letters() -> st.SearchStrategy[Work]:
    """Find, lock, settle and note what `parkings` parks."""
    place = st.builds(LogPosition, st.just(EVENTS), st.integers(0, 1), st.integers(0, 3))
    places = st.lists(place, max_size=4, unique=True)
    some = st.sampled_from
    wanted = st.builds(
        DeadLetterFilter,
        some(["", "", "parked", "redriven"]),
        some(["", "", EVENTS, "x"]),
        some(["", "", "a"]),
        st.just("") | SAGAS,
        some(["", "", "unknown", "processed"]),
    )
    finds = st.builds(
        lambda w, after, n: lambda tx: _timeless(tx.find_parked(w, after, n)),
        wanted,
        st.none() | place,
        st.integers(1, 3),
    )
    locks = places.map(lambda rows: lambda tx: _timeless(tx.lock_parked(rows)))
    settles = st.builds(
        lambda rows, status: lambda tx: tx.settle_parked(rows, status),
        places,
        some(["redriven", "discarded"]),
    )
    notes = places.map(lambda rows: lambda tx: tx.note_processed(rows))
    redriven = st.integers(1, 4).map(lambda n: lambda tx: tx.redriven_places(n))
    takes = places.map(lambda rows: lambda tx: _timeless(tx.take_redriven(rows)))
    return finds | locks | settles | notes | redriven | takes


def _timeless(rows: list[Any]) -> list[Any]:
    """Leave out times, in which the clocks differ, after looking at them."""
    assert all(abs(time - START_MS) < HOUR_MS for row in rows for time in (row.first_ms, row.last_ms))
    assert all(row.first_ms <= row.last_ms for row in rows)
    return [row._replace(first_ms=0, last_ms=0) for row in rows]


def actions() -> st.SearchStrategy[Work]:
    action = st.builds(OperatorAction, TEXT, TEXT, TEXT, TEXT)
    return st.lists(action, max_size=3).map(lambda rows: lambda tx: tx.record_actions(rows))


def fences() -> st.SearchStrategy[Work]:
    """Lock some keys, write some of those, give back the rest: as every handler does."""
    written = st.dictionaries(
        SAGAS, st.tuples(st.sampled_from(FenceState), TEXT, BYTES, st.booleans(), st.booleans())
    )

    def make(step: str, also: list[str], rows: dict[str, Any]) -> Work:
        ids = [*also, *rows]

        def work(tx: Any) -> Any:
            found = tx.lock_fences(step, ids)
            unused = sorted(set(ids) - {*found, *rows})
            tx.save_fences(step, [Fence(saga, *row) for saga, row in rows.items()], unused)
            return found, tx.lock_fences(step, []), _read_fences(tx, step)

        return work

    return st.builds(make, STEPS, st.lists(SAGAS, max_size=3), written)


def _read_fences(tx: Any, step: str) -> Any:
    ids = [saga_id(n) for n in range(6)]
    found = tx.lock_fences(step, ids)
    tx.save_fences(step, [], sorted(set(ids) - set(found)))
    return found


def held() -> st.SearchStrategy[Work]:
    return st.builds(
        lambda step, low, high, keys, n: (
            lambda tx: tx.held_fences(step, saga_id(low), saga_id(high), keys, n)
        ),
        STEPS,
        st.integers(0, 3),
        st.integers(2, 5),
        st.integers(1, 4),
        st.integers(1, 3),
    )


def timers() -> st.SearchStrategy[Work]:
    keys = st.builds(TimerKey, SAGAS, STEPS, st.sampled_from(["do", "undo"]))
    hours = st.sampled_from([-2, -1, 1, 5]).map(lambda h: START_MS + h * HOUR_MS)
    small = st.integers(0, 9)
    kinds = st.sampled_from([DEADLINE, RESOLVE])
    row = st.builds(TimerRow, keys, kinds, st.integers(0, 3), small, hours, small, small, small)
    sets = st.lists(row, max_size=4).map(lambda rows: lambda tx: tx.set_timers(rows))
    clears = st.lists(keys, max_size=3).map(lambda ks: lambda tx: tx.clear_timers(ks))

    def due(kind: str, partitions: frozenset[int]) -> Work:
        def work(tx: Any) -> Any:
            rows = tx.due_timers(kind, partitions, 3 * HOUR_MS, 100)
            assert [r.due_ms for r in rows] == sorted(r.due_ms for r in rows)
            return sorted(rows)

        return work

    looks = st.builds(due, st.sampled_from([DEADLINE, RESOLVE]), st.frozensets(st.integers(0, 3)))
    return sets | sets | clears | looks


def leases() -> st.SearchStrategy[Work]:
    names, owners = st.sampled_from(["relay", "other"]), st.sampled_from(["me", "you"])
    ttl = st.sampled_from([-1_000, HOUR_MS])
    return st.builds(lambda n, o, t: lambda tx: tx.take_lease(n, o, t), names, owners, ttl)


def starts() -> st.SearchStrategy[Work]:
    places = st.sampled_from(["t:0", "t:1"])
    counts = st.builds(lambda p, o: lambda tx: tx.count_start(p, o), places, st.integers(0, 2))
    return counts | counts | st.lists(places, max_size=2).map(lambda ps: lambda tx: tx.forget_starts(ps))


def topic_ids() -> st.SearchStrategy[Work]:
    topics = st.sampled_from(["t", "u"])
    places = st.builds(TopicPartition, topics, st.integers(0, 2))
    ids = st.dictionaries(places, st.sampled_from(["old", "new"]), max_size=3)
    saves = ids.map(lambda found: lambda tx: tx.save_topic_ids(found))
    return saves | saves | st.lists(topics, max_size=2).map(lambda names: lambda tx: tx.topic_ids(names))


def pages() -> st.SearchStrategy[PrunePage]:
    """Ages are hours away from both clocks: a page takes all rows in its range, or none."""
    changed = st.sampled_from([-HOUR_MS, HOUR_MS]).map(lambda age: START_MS + age)
    return st.builds(PrunePage, SAGAS, st.integers(2, 5).map(saga_id), changed, st.integers(1, 3))


def prunings() -> st.SearchStrategy[Work]:
    states = st.lists(st.sampled_from(FenceState), min_size=1, unique=True)
    fences = st.builds(lambda s, of, page: lambda tx: tx.prune_fences(s, of, page), STEPS, states, pages())
    names = st.sampled_from(["fence", "other"])
    notes = st.builds(lambda n, key: lambda tx: tx.note_pruned(n, key, 1), names, SAGAS)
    parked = pages().map(lambda page: lambda tx: tx.prune_parked(page))
    return fences | parked | notes | names.map(lambda name: lambda tx: tx.pruned_before(name))


OPERATIONS = st.one_of(
    appends(),
    forgets(),
    outbox_reads(),
    parkings(),
    parkings(),
    dead_letters(),
    dead_letters(),
    actions(),
    fences(),
    fences(),
    held(),
    timers(),
    timers(),
    leases(),
    starts(),
    topic_ids(),
    prunings(),
)
TRANSACTIONS = st.lists(st.tuples(st.lists(OPERATIONS, max_size=5), st.booleans()), max_size=6)


@sequences
@given(transactions=TRANSACTIONS)
def test_the_same_operations_read_the_same(
    store_pair: StorePair, transactions: list[tuple[list[Work], bool]]
) -> None:
    store_pair.reset()
    for operations, roll_back in transactions:
        store_pair.transact(in_turn(operations), commit=not roll_back)
    assert _outbox(store_pair) == [(n, list(batch)) for n, (_, batch) in sorted(_table(store_pair, "outbox"))]
    assert _parked(store_pair) == _timeless(store_pair.rows("parked"))
    assert _timers(store_pair) == store_pair.rows("timers")
    assert _actions(store_pair) == [action for _, action in store_pair.rows("operator_actions")]


def _table(store_pair: StorePair, name: str) -> list[Any]:
    return sorted(store_pair.memory.tables.tables.get(name, {}).items())


def _outbox(store_pair: StorePair) -> list[Any]:
    with store_pair.postgres.transaction() as tx:
        return tx.stale_outbox(0, 1000)  # type: ignore[no-any-return]


def _parked(store_pair: StorePair) -> list[Any]:
    rows = store_pair.select(
        "select topic, partition, position, key, value, headers, source, reason, detail, message_id,"
        " saga_id::text, attempts, status, outcome from parked order by topic, partition, position"
    )
    decode = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode
    parked = []
    for topic, partition, offset, key, value, headers, source, *rest in rows:
        record = Record(topic, partition, offset, key, value, decode(headers), 0, source)
        parked.append(ParkedRecord(record, *rest))
    return parked


def _actions(store_pair: StorePair) -> list[OperatorAction]:
    rows = store_pair.select("select operator, action, target, reason from operator_actions order by id")
    return [OperatorAction(*row) for row in rows]


def _timers(store_pair: StorePair) -> list[TimerRow]:
    rows = store_pair.select(
        "select saga_id::text, step, verb, kind, partition, since_ms, due_ms, fired, outbox_id, end_offset"
        " from timers order by saga_id, step, verb"
    )
    return [TimerRow(TimerKey(*row[:3]), *row[3:]) for row in rows]


# -- what memory has no word for


def test_a_limit_takes_the_timers_that_are_due_longest(store_pair: StorePair) -> None:
    rows = [TimerRow(TimerKey(saga_id(n), "payment", "do"), DEADLINE, 0, 0, 1_000 - n) for n in range(9)]
    store_pair.transact(lambda tx: tx.set_timers(rows))
    due = store_pair.transact(lambda tx: tx.due_timers(DEADLINE, {0}, HOUR_MS, 3))
    assert [row.due_ms for row in due] == [992, 993, 994]


def test_text_that_postgresql_cannot_hold_is_parked_all_the_same(store_pair: StorePair) -> None:
    record = Record(EVENTS, 0, 1, None, b"\x00", (), 0)
    with store_pair.postgres.transaction() as tx:
        tx.park([ParkedRecord(record, "a\x00b", "d\x00" * 900, "i\x00", None)])
    assert store_pair.select("select reason, length(detail), message_id from parked") == [("a?b", 1000, "i?")]


def test_a_row_locked_by_another_is_skipped_by_the_one_that_looks_for_due_timers(
    store_pair: StorePair,
) -> None:
    row = TimerRow(TimerKey(saga_id(1), "payment", "do"), DEADLINE, 0, 0, 0)
    store_pair.transact(lambda tx: tx.set_timers([row]))
    with store_pair._connection.transaction():
        store_pair.select("select 1 from timers for update")
        with store_pair.postgres.transaction() as tx:
            assert tx.due_timers(DEADLINE, [0], HOUR_MS, 10) == []
    with store_pair.postgres.transaction() as tx:
        assert tx.due_timers(DEADLINE, [0], HOUR_MS, 10) == [row]


def test_a_row_locked_by_another_is_left_for_a_later_pruning(store_pair: StorePair) -> None:
    rows = [Fence(saga_id(n), FenceState.CONFIRMED) for n in (1, 2)]
    page = PrunePage(saga_id(0), saga_id(9), START_MS + HOUR_MS, 10)
    with store_pair.postgres.transaction() as tx:
        tx.lock_fences("inventory", [row.saga_id for row in rows])
        tx.save_fences("inventory", rows, ())
    with store_pair._connection.transaction():
        store_pair.select(f"select 1 from fence where saga_id = '{saga_id(1)}' for update")
        with store_pair.postgres.transaction() as tx:
            assert tx.prune_fences("inventory", [FenceState.CONFIRMED], page) == Pruned(1)
    with store_pair.postgres.transaction() as tx:
        assert tx.prune_fences("inventory", [FenceState.CONFIRMED], page) == Pruned(1)


def test_a_row_whose_step_has_a_timer_is_kept(store_pair: StorePair) -> None:
    rows = [Fence(saga_id(n), FenceState.REFUSED) for n in (1, 2, 3)]
    keys = TimerKey(saga_id(1), "payment", "undo"), TimerKey(saga_id(2), "order", "undo")
    page = PrunePage(saga_id(0), saga_id(9), START_MS + HOUR_MS, 10)

    def write(tx: Any) -> None:
        tx.lock_fences("payment", [row.saga_id for row in rows])
        tx.save_fences("payment", rows, ())
        tx.set_timers([TimerRow(key, RESOLVE, 0, 0, 0) for key in keys])

    store_pair.transact(write)
    assert store_pair.transact(lambda tx: tx.prune_fences("payment", [FenceState.REFUSED], page)) == Pruned(2)
    assert store_pair.select("select saga_id::text from fence") == [(saga_id(1),)]


def test_only_what_was_decided_on_long_ago_is_pruned_of_what_is_parked(store_pair: StorePair) -> None:
    rows = [ParkedRecord(Record(EVENTS, 0, n, None, b"", (), 0), "why", "so", None, None) for n in range(5)]
    later = PrunePage(saga_id(0), saga_id(9), START_MS + HOUR_MS, 2)
    store_pair.transact(lambda tx: len(tx.park(rows)))
    store_pair.transact(lambda tx: tx.settle_parked([row.place for row in rows[:2]], "discarded"))
    store_pair.transact(lambda tx: tx.settle_parked([rows[3].place], "redriven"))
    earlier = later._replace(unchanged_since_ms=START_MS - HOUR_MS)
    assert store_pair.transact(lambda tx: tx.prune_parked(earlier)) == Pruned(0)
    assert store_pair.transact(lambda tx: tx.prune_parked(later)) == Pruned(2, later.from_id)
    assert store_pair.transact(lambda tx: tx.prune_parked(later)) == Pruned(1)
    assert store_pair.select("select position from parked order by 1") == [(2,), (4,)]
