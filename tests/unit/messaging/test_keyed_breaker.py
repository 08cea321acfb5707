"""The breaker of independent work: distinct keys open it, fresh work probes, a partial failure does not."""

from collections.abc import Iterator
from random import Random

import pytest

from holdfast.messaging.keyed_breaker import KEYS_REMEMBERED_MAX, Evidence, KeyedBreaker, KeyedSettings
from holdfast.messaging.producer import BreakerOpen

SETTINGS = KeyedSettings()
LATER_S = 10.0
"""Longer than any rest between two rounds of probes."""


class Down(Exception):
    pass


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> KeyedBreaker:
    return KeyedBreaker("charges", (Down,), SETTINGS, clock)


def fail(breaker: KeyedBreaker, key: str, *, fresh: bool = True) -> None:
    with pytest.raises(Down), breaker.guard(key, fresh=fresh):
        raise Down


def succeed(breaker: KeyedBreaker, key: str, *, fresh: bool = True) -> None:
    with breaker.guard(key, fresh=fresh):
        pass


def opened(breaker: KeyedBreaker) -> KeyedBreaker:
    for number in range(SETTINGS.failures_max):
        fail(breaker, f"failed-{number}")
    assert breaker.state == "open"
    return breaker


def new_keys() -> Iterator[str]:
    return (f"new-{number}" for number in range(10_000))


def test_many_distinct_keys_that_fail_open_it_at_once(breaker: KeyedBreaker) -> None:
    opened(breaker)
    with pytest.raises(BreakerOpen) as refused, breaker.guard("another"):
        pytest.fail("no call passes before its time")
    assert 0 < refused.value.retry_after_s <= SETTINGS.rest_max_s
    assert (breaker.rejected, breaker.transitions["open"]) == (1, 1)


def test_few_keys_open_it_only_when_nobody_succeeds_for_a_while(breaker: KeyedBreaker, clock: Clock) -> None:
    for number in range(SETTINGS.few_failures):
        fail(breaker, f"key-{number}")
    assert breaker.state == "closed"
    clock.now += SETTINGS.silence_s
    fail(breaker, "key-0", fresh=False)
    assert breaker.state == "open"


def test_one_key_that_keeps_failing_counts_once(breaker: KeyedBreaker, clock: Clock) -> None:
    for _ in range(10 * SETTINGS.failures_max):
        fail(breaker, "same", fresh=False)
        fail(breaker, "looked-up")
        clock.now += 1
    assert breaker.state == "closed"


def test_work_that_failed_before_does_not_count(breaker: KeyedBreaker, clock: Clock) -> None:
    for number in range(10 * SETTINGS.failures_max):
        fail(breaker, f"key-{number}", fresh=False)
        clock.now += 1
    assert breaker.state == "closed"


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("per_s", [2, 20])
def test_a_share_of_all_keys_that_fails_for_ever_never_opens_it(
    breaker: KeyedBreaker, clock: Clock, share: float, per_s: int
) -> None:
    rng = Random(1)
    for number in range(20_000):
        clock.now += 1 / per_s
        if rng.random() < share:
            fail(breaker, f"key-{number}")
            fail(breaker, f"key-{max(0, number - 50)}", fresh=False)
        else:
            succeed(breaker, f"key-{number}")
    assert breaker.transitions["open"] == 0


def test_slow_failures_that_come_together_are_none_if_others_succeeded_meanwhile(
    breaker: KeyedBreaker, clock: Clock
) -> None:
    hanging = [breaker.guard(f"hangs-{number}") for number in range(2 * SETTINGS.failures_max)]
    for each in hanging:
        each.__enter__()
    clock.now += 1
    succeed(breaker, "good")
    clock.now += 9
    for each in hanging:
        assert not each.__exit__(Down, Down(), None)
    assert breaker.state == "closed"


def test_slow_failures_of_all_open_it(breaker: KeyedBreaker, clock: Clock) -> None:
    hanging = [breaker.guard(f"hangs-{number}") for number in range(SETTINGS.few_failures)]
    for each in hanging:
        each.__enter__()
    clock.now += SETTINGS.silence_s
    for each in hanging:
        assert not each.__exit__(Down, Down(), None)
    assert breaker.state == "open"


def test_probes_grow_while_they_fail_to_a_bound(breaker: KeyedBreaker, clock: Clock) -> None:
    opened(breaker)
    keys, sizes = new_keys(), []
    for _ in range(6):
        clock.now += LATER_S
        sizes.append(breaker.admits(1000))
        for _ in range(sizes[-1]):
            fail(breaker, next(keys))
        assert breaker.admits(1000) == 0
        assert breaker.state == "open"
    assert sizes == [1, 2, 4, 8, SETTINGS.probes_max, SETTINGS.probes_max]
    assert breaker.transitions["open"] == 7


def test_probes_grow_faster_while_they_succeed_and_then_it_closes(
    breaker: KeyedBreaker, clock: Clock
) -> None:
    opened(breaker)
    clock.now += LATER_S
    keys, sizes = new_keys(), []
    while breaker.is_open():
        sizes.append(breaker.admits(1000))
        succeed(breaker, next(keys))
    assert sizes == [1, 2, 4]
    assert breaker.admits(1000) == 1000


def test_what_a_round_leaves_unused_is_there_for_whoever_comes(breaker: KeyedBreaker, clock: Clock) -> None:
    opened(breaker)
    for _ in range(10):
        clock.now += LATER_S
        assert breaker.admits(1000) == 1, "and it does not grow while nobody probes"
    succeed(breaker, "good")


def test_work_that_failed_before_never_uses_up_the_probes_of_fresh_work(
    breaker: KeyedBreaker, clock: Clock
) -> None:
    opened(breaker)
    clock.now += LATER_S
    fail(breaker, "failed-0", fresh=False)
    with pytest.raises(BreakerOpen), breaker.guard("failed-1"):
        pytest.fail("it has failed before, whatever its caller says")
    assert (breaker.admits(9, fresh=False), breaker.admits(9)) == (0, 1)


def test_without_fresh_work_what_failed_before_finds_the_end_of_an_outage(
    breaker: KeyedBreaker, clock: Clock
) -> None:
    opened(breaker)
    clock.now += LATER_S
    for number in range(SETTINGS.successes):
        succeed(breaker, f"failed-{number}", fresh=False)
    assert breaker.state == "closed"


def test_probes_that_hang_keep_no_round_from_beginning(breaker: KeyedBreaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += LATER_S
    with breaker.guard("hangs"):
        clock.now += LATER_S
        assert breaker.admits(9) == 2


def test_a_cancelled_probe_teaches_nothing_and_another_may_probe(breaker: KeyedBreaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += LATER_S
    with pytest.raises(KeyboardInterrupt), breaker.guard("stopped"):
        raise KeyboardInterrupt
    assert breaker.admits(9) == 1


def test_it_remembers_a_bounded_number_of_keys() -> None:
    evidence = Evidence(SETTINGS)
    for number in range(KEYS_REMEMBERED_MAX + 5):
        evidence.failed(str(number), 0.0, fresh=True)
    assert (evidence.is_new("4"), evidence.is_new("5")) == (True, False)
