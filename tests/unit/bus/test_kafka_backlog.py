"""What waits between Kafka's queue and the caller: in order, dealt evenly."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from holdfast.bus.kafka.backlog import Backlog
from holdfast.bus.port import Record, TopicPartition

PLACES = [TopicPartition("t", partition) for partition in range(4)]


def filled(counts: Iterable[int]) -> Backlog:
    backlog = Backlog()
    for partition, count in enumerate(counts):
        for offset in range(count):
            backlog.add(Record("t", partition, offset, b"k", b"12345", (), 0))
    return backlog


def places(records: list[Record]) -> list[tuple[int, int]]:
    return [(record.partition, record.offset) for record in records]


@given(st.lists(st.integers(0, 20), max_size=4), st.lists(st.integers(1, 9), max_size=20))
def test_all_comes_out_once_and_in_order(counts: list[int], takes: list[int]) -> None:
    backlog = filled(counts)
    taken: list[Record] = []
    for count in [*takes, 1000]:
        some = backlog.take(count)
        assert len(some) == min(count, sum(counts) - len(taken))
        taken += some
        assert backlog.ready() == sum(counts) - len(taken)
    for partition, count in enumerate(counts):
        assert [r.offset for r in taken if r.partition == partition] == list(range(count))
    assert backlog.bytes == 0


def test_a_long_queue_leaves_room_for_the_others() -> None:
    taken = filled([1000, 3, 1000]).take(100)
    shares = [sum(record.partition == partition for record in taken) for partition in range(3)]
    assert shares[1] == 3
    assert abs(shares[0] - shares[2]) <= 34


def test_small_takes_go_round() -> None:
    backlog = filled([5, 5, 5])
    assert [backlog.take(1)[0].partition for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_forgotten_is_gone_with_its_bytes() -> None:
    backlog = filled([2, 2])
    backlog.forget(frozenset({PLACES[0], PLACES[3]}))
    assert backlog.bytes == 10
    assert places(backlog.take(10)) == [(1, 0), (1, 1)]
