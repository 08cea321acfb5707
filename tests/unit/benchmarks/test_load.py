"""The arithmetic of the benchmarks' loads."""

import pytest
from benchmarks.load import Run, due_times, percentile


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 50.0), (0.51, 51.0), (0.99, 99.0), (0.999, 100.0), (1.0, 100.0)]
)
def test_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == expected


def test_percentiles_of_few_values_are_among_them() -> None:
    assert [percentile([3.0], share) for share in (0.0, 0.5, 1.0)] == [3.0, 3.0, 3.0]
    assert percentile([1.0, 2.0], 0.5) == 1.0
    assert percentile([1.0, 2.0], 0.99) == 2.0


def test_nothing_measured_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 0.5)


def test_due_times_are_even_and_wait_for_nobody() -> None:
    due = list(due_times(10.0, 4.0, 1.5))
    assert due == [10.0, 10.25, 10.5, 10.75, 11.0, 11.25]


def test_a_slow_rate_has_its_whole_number_of_requests() -> None:
    assert len(list(due_times(0.0, 0.1, 30.0))) == 3
    assert len(list(due_times(0.0, 300.0, 0.1))) == 30  # 300 * 0.1 is a little less than 30


def test_an_ended_run_is_in_order() -> None:
    run = Run(latencies_ms=[3.0, 1.0, 2.0]).ended(1.5)
    assert (run.latencies_ms, run.count, run.per_second) == ([1.0, 2.0, 3.0], 3, 2.0)
