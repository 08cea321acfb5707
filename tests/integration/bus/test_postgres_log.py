"""The log on real PostgreSQL: concurrent publishers, what psql shows, plans, and what is deleted when."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import TupleRow
from tests.integration.bus.function_bodies import prepare_statements
from tests.open_bus import OpenBus

from holdfast.bus.port import BusUnavailable, Consumer, Message, Record
from holdfast.bus.postgres import consumer as consumer_module
from holdfast.bus.postgres.bus import PostgresBus
from holdfast.bus.postgres.consumer import LogRetention
from holdfast.bus.postgres.session import connect
from holdfast.bus.postgres.wire import statement

TOPICS = ("a", "b", "c")
PARTITIONS = 4
AT_ONCE = LogRetention(0.0)


@pytest.fixture
def bus(database: str) -> Iterator[PostgresBus]:
    bus = OpenBus(database)
    bus.create_topics(TOPICS, PARTITIONS)
    yield bus
    bus.close()


@pytest.fixture
def sql(database: str, bus: PostgresBus) -> Iterator[psycopg.Connection[TupleRow]]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def batch(count: int, topics: Sequence[str] = TOPICS, text: str = "v") -> list[Message]:
    return [
        Message(topics[i % len(topics)], f"key-{i}".encode(), f"{text}-{i}".encode()) for i in range(count)
    ]


def drain(consumer: Consumer) -> list[Record]:
    """Read and commit all there is, as the group's only member."""
    records: list[Record] = []
    while some := consumer.poll(500, 0.0):
        consumer.commit({r.place: r.offset + 1 for r in some})
        records += some
    return records


@pytest.mark.parametrize("by", ["datagrams", "notify"])
def test_a_wake_up_costs_one_fetch_and_none_comes_after_it(
    bus: PostgresBus, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(consumer_module, "_LOOK_EVERY_S", 3600.0)
    woken = OpenBus(database, tmp_path if by == "datagrams" else None)
    consumer = woken.consumer("g", ["a"])
    assert consumer.poll(500, 0.0) == []
    fetches: list[str] = []
    run = consumer._session.run

    def count(name: str, **values: Any) -> Any:
        fetches.extend([name] if name == "fetch_log" else [])
        return run(name, **values)

    monkeypatch.setattr(consumer._session, "run", count)
    for rounds in range(1, 4):
        woken.publisher().publish(batch(3, ("a",)))
        assert len(consumer.poll(500, 60.0)) == 3
        assert consumer.poll(500, 0.001) == []
        assert len(fetches) == rounds
    woken.publisher().publish([Message("a", b"key", b"x" * 400_000) for _ in range(6)])
    read = [len(consumer.poll(2, 60.0)) for _ in range(3)]
    assert read == [2, 2, 2], "what one fetch left out is fetched without a wake-up"
    consumer.close()
    woken.close()


def test_publishers_of_the_same_partitions_never_deadlock_nor_leave_a_hole(
    bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    """Each one takes the partitions in another order, again and again; a deadlock would be an error."""
    failures: list[Exception] = []

    def publish(number: int) -> None:
        publisher = bus.publisher()
        messages = batch(24, text=str(number))
        try:
            for i in range(30):
                turn = (i * 7 + number * 5) % 24
                publisher.publish(messages[turn:] + messages[:turn])
        except Exception as error:  # noqa: BLE001 - reported below
            failures.append(error)
        publisher.close()

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    lanes = sql.execute(
        """select l.topic, l.partition, p.next_offset, sum(l.end_offset - l.base_offset), min(l.base_offset),
                  count(*) filter (where l.base_offset <> coalesce(l.before, 0))
           from (select *, lag(end_offset) over (partition by topic, partition order by end_offset) as before
                 from log) as l
           join partitions as p on p.topic = l.topic and p.partition = l.partition
           group by l.topic, l.partition, p.next_offset"""
    ).fetchall()
    assert all(total == end and first == 0 and holes == 0 for _, _, end, total, first, holes in lanes)
    assert sum(total for _, _, _, total, _, _ in lanes) == 6 * 30 * 24


def test_a_batch_is_a_row_a_lane_and_one_transaction(
    bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    bus.publisher().publish(batch(400))
    rows = sql.execute("select topic, partition, xmin::text from log").fetchall()
    assert len({(topic, partition) for topic, partition, _ in rows}) == len(rows) == len(TOPICS) * PARTITIONS
    assert len({xmin for _, _, xmin in rows}) == 1


def test_a_refused_batch_leaves_no_trace(bus: PostgresBus, sql: psycopg.Connection[TupleRow]) -> None:
    """A lane that vanished is an error of the statement, which then does nothing at all."""
    publisher = bus.publisher()
    publisher.publish(batch(12))
    sql.execute("delete from partitions where topic = 'b'")
    with pytest.raises(BusUnavailable, match="23502"):
        publisher.publish(batch(12))
    assert sql.execute("select sum(end_offset - base_offset) from log").fetchone() == (12,)
    assert sql.execute("select sum(next_offset) from partitions").fetchone() == (8,)


def test_the_view_shows_single_messages(bus: PostgresBus, sql: psycopg.Connection[TupleRow]) -> None:
    headers = (("ce_id", b"1"), ("ce_type", b"X"))
    bus.publisher().publish(
        [
            Message("a", b"k", b'{"amount": 1}', headers),
            Message("a", b"k", None),
            Message("a", b"k", b"\x00\xff", (("twice", b"1"), ("twice", b"2"))),
        ]
    )
    rows = sql.execute(
        "select message_offset, key, value, headers, has_base64 from messages order by message_offset"
    ).fetchall()
    assert rows == [
        (0, "k", '{"amount": 1}', {"ce_id": "1", "ce_type": "X"}, False),
        (1, "k", None, None, False),
        (2, "k", "AP8=", [["twice", "MQ=="], ["twice", "Mg=="]], True),
    ]


def test_what_every_group_has_consumed_is_pruned_after_the_retention(
    bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    def left() -> Any:
        return sql.execute("select coalesce(sum(end_offset - base_offset), 0) from log").fetchone()

    bus.publisher().publish(batch(30, ("a",)))
    bus.publisher().publish(batch(10, ("b",)))  # nobody ever reads it
    fast, slow = bus.consumer("fast", ["a"]), bus.consumer("slow", ["a"])
    assert len(drain(fast)) == 30
    assert len(slow.poll(1, 0.0)) == 1  # has joined, and committed nothing
    bus.prune(AT_ONCE)
    assert left() == (40,)
    assert len(drain(slow)) == 29
    bus.prune(LogRetention(3600.0))
    assert left() == (40,)
    bus.prune(AT_ONCE)
    assert left() == (10,)


def test_a_group_that_comes_after_a_pruning_starts_at_what_is_left(bus: PostgresBus) -> None:
    publisher = bus.publisher()
    publisher.publish(batch(1200, ("a",)))
    first = bus.consumer("first", ["a"])
    assert len(drain(first)) == 1200
    bus.prune(AT_ONCE)
    publisher.publish(batch(20, ("a",), "new"))
    records = drain(bus.consumer("second", ["a"]))
    assert len(records) == 20
    assert {(r.value or b"")[:3] for r in records} == {b"new"}
    ends = {place: publisher.end_offset(place) for place in first.assignment()}
    assert {r.place: r.offset + 1 for r in records} == {p: ends[p] for p in {r.place for r in records}}


def test_consumers_prune_in_passing(
    database: str, bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    forgetful = OpenBus(database, retention=AT_ONCE)
    bus.publisher().publish(batch(30, ("a",)))
    consumer = forgetful.consumer("g", ["a"])
    drain(consumer)
    assert sql.execute("select count(*) from log").fetchone() == (4,)
    consumer._next_prune = 0.0  # long ago
    consumer.poll(500, 0.0)
    assert sql.execute("select count(*) from log").fetchone() == (0,)
    bus.publisher().publish(batch(30, ("a",)))
    drain(consumer)
    consumer._next_prune = 0.0
    consumer.poll(500, 0.0)  # it has just been done
    assert sql.execute("select count(*) from log").fetchone() == (4,)


def test_two_do_not_prune_at_once(bus: PostgresBus, database: str, sql: psycopg.Connection[TupleRow]) -> None:
    bus.publisher().publish(batch(30, ("a",)))
    drain(bus.consumer("g", ["a"]))
    with psycopg.connect(database) as other:
        other.execute("select from upkeep for update")
        bus.prune(AT_ONCE)  # returns at once
        assert sql.execute("select count(*) from log").fetchone() == (4,)
    bus.prune(AT_ONCE)
    assert sql.execute("select count(*) from log").fetchone() == (0,)


def left_of(sql: psycopg.Connection[TupleRow]) -> dict[str, int]:
    return dict(sql.execute("select topic, count(*) from log group by topic").fetchall())


def test_what_is_kept_for_people_waits_for_no_group_and_goes_at_its_own_age(
    bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    bus.publisher().publish(batch(40, ("a", "b")))
    assert len(bus.consumer("slow", ["a", "b"]).poll(1, 0.0)) == 1  # has joined both, and committed nothing
    bus.prune(LogRetention(0.0, kept_s=3600.0, kept_topics=("b",)))
    assert left_of(sql).keys() == {"a", "b"}
    bus.prune(LogRetention(3600.0, kept_s=0.0, kept_topics=("b",)))
    assert left_of(sql).keys() == {"a"}


def test_a_group_without_members_is_shown_and_forgotten_and_holds_no_message_any_more(
    bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    bus.publisher().publish(batch(30, ("a",)))
    used = bus.consumer("used", ["a"])
    drain(used)
    gone = bus.consumer("gone", ["a"])
    assert len(gone.poll(1, 0.0)) == 1
    gone.close()
    sql.execute("update log set published_at = now() - interval '1 day'")
    bus.prune(AT_ONCE)
    shown = {group.name: group for group in bus.groups()}
    assert (shown["used"].members, shown["used"].unread, shown["used"].held) == (1, 0, 0)
    assert (shown["gone"].members, shown["gone"].unread, shown["gone"].held) == (0, 30, 30)
    assert left_of(sql) == {"a": 4}

    assert bus.forget_group("used", "olga", "tidying") is False
    assert bus.forget_group("never", "olga", "tidying") is None
    assert bus.forget_group("gone", "olga", "no longer used") is True
    assert [group.name for group in bus.groups()] == ["used"]
    done = sql.execute("select operator, action, target, reason from operator_actions").fetchall()
    assert done == [("olga", "forget_group", "gone", "no longer used")]
    bus.prune(AT_ONCE)
    assert left_of(sql) == {}
    assert len(drain(used)) == 0


def test_a_forgotten_group_that_comes_back_reads_again_what_is_left(bus: PostgresBus) -> None:
    """Its offsets are gone, as a broker's may be: all that is left comes again, and nothing is skipped."""
    bus.publisher().publish(batch(30, ("a",)))
    first = bus.consumer("g", ["a"])
    assert len(drain(first)) == 30
    first.close()
    assert bus.forget_group("g", "olga", "a test") is True
    assert len(drain(bus.consumer("g", ["a"]))) == 30


@pytest.mark.parametrize("rows", [0, 100_000], ids=["empty", "100000-rows"])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "fetch_log",
            "'g', array['a','a','a','a'], array[0,1,2,3], array[5000,5000,5000,5000]::int8[], 500, 1000000",
        ),
        (
            "publish_batch",
            r"array['a','b'], array[0,1], array[1,1]::int8[], array['\x00','\x00']::bytea[], '{}'",
        ),
        ("commit_offsets", "'g', 'me', 10.0, array['a'], array[0], array[1]::int8[], array[9]::int8[]"),
        ("renew_leases", "'g', 'me', array['a'], 10.0"),
        ("take_leases", "'g', 'me', 10.0, array['a'], array[0], array[1]::int8[]"),
    ],
)
def test_hot_statements_use_their_index_whether_the_tables_are_empty_or_large(
    bus: PostgresBus, database: str, sql: psycopg.Connection[TupleRow], name: str, values: str, rows: int
) -> None:
    sql.execute(
        "insert into log select topic, p, i, i + 1, now(), 'x', 'test' "
        "from topics, generate_series(0, 3) as p, generate_series(0, %s / 12 - 1) as i",
        [rows],
    )
    session = connect(database)  # with the settings of a publisher or consumer
    lines = [
        line
        for function, arguments in ((name, values), ("check_reader", "'g', array['a']"))
        for prepared in prepare_statements(session, function)
        for (line,) in session.execute(
            f"explain (costs off) execute {prepared} ({arguments})".encode()
        ).fetchall()
    ]
    session.close()
    scans = [line.strip(" ->") for line in lines if "Scan" in line and "CTE Scan" not in line]
    assert any("log_pkey" in s or "leases_pkey" in s or "partitions_pkey" in s for s in scans)
    assert not [s for s in scans if s.startswith("Seq Scan")]


PRUNE_PARAMETERS = ["rest_s", "retention_s", "kept_topics", "kept_retention_s", "rows_max"]


def loops_max(node: dict[str, Any]) -> int:
    """Return how often the most repeated node of an executed plan ran."""
    return max([int(node["Actual Loops"]), *(loops_max(each) for each in node.get("Plans", []))])


@pytest.mark.parametrize(
    "analyzed", ["", "log, leases, partitions, topics, members"], ids=["new", "analyzed"]
)
def test_pruning_looks_once_at_each_partition_however_long_the_log_is(
    bus: PostgresBus, database: str, sql: psycopg.Connection[TupleRow], analyzed: str
) -> None:
    """With a bound for every row of the log it took longer than a statement may, and so never ended."""
    rows, lanes = 12_000, len(TOPICS) * PARTITIONS
    sql.execute(
        "insert into log select topic, p, i, i + 1, now() - interval '1 hour', 'x', 'test' "
        "from topics, generate_series(0, %s) as p, generate_series(0, %s) as i",
        [PARTITIONS - 1, rows // lanes - 1],
    )
    sql.execute(
        "insert into leases (group_name, topic, partition, committed) "
        "select 'g', topic, partition, 1000000 from partitions"
    )
    if analyzed:
        sql.execute(f"analyze {analyzed}".encode())
    session = connect(database)  # with the settings of a consumer
    (prepared,) = prepare_statements(session, "prune_log")
    assert [name for name, _ in statement("prune_log").parameters] == PRUNE_PARAMETERS
    values = "0, 0, '{}', 0, 2000"
    [(plan,)] = session.execute(
        f"explain (analyze, costs off, format json) execute {prepared} ({values})".encode()
    ).fetchall()
    session.close()
    assert loops_max(plan[0]["Plan"]) <= lanes
    assert sql.execute("select count(*) from log").fetchone() == (0,)


def test_a_backlog_is_pruned_without_a_long_rest_between(
    database: str, bus: PostgresBus, sql: psycopg.Connection[TupleRow]
) -> None:
    consumer = OpenBus(database, retention=AT_ONCE).consumer("g", ["a"])
    drain(consumer)
    sql.execute(
        "insert into log select 'a', 0, i, i + 1, now() - interval '1 hour', 'x', 'test' "
        "from generate_series(0, 2499) as i"
    )
    sql.execute("update leases set committed = 1000000")
    consumer._next_prune = 0.0
    consumer.poll(500, 0.0)
    assert sql.execute("select count(*) from log").fetchone() == (500,)
    assert consumer._next_prune < time.monotonic() + 2, "there is more to do"
    sql.execute("update upkeep set pruned_at = now() - interval '1 second'")
    consumer._next_prune = 0.0
    consumer.poll(500, 0.0)
    assert sql.execute("select count(*) from log").fetchone() == (0,)
    assert consumer._next_prune > time.monotonic() + 20
