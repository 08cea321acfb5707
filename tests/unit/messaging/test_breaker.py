"""The circuit breaker: when it opens, whom it lets probe, what it does not count."""

import threading

import pytest

from holdfast.bus.port import BusUnavailable
from holdfast.messaging.breaker import Breaker, BreakerSettings
from holdfast.messaging.producer import BreakerOpen


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Refusal(Exception):
    pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("kafka", (BusUnavailable,), BreakerSettings(failures_max=3, open_s=4.0), clock)


def fail(breaker: Breaker, error: type[BaseException] = BusUnavailable) -> None:
    with pytest.raises(error), breaker.guard():
        raise error("down")


def succeed(breaker: Breaker) -> None:
    with breaker.guard():
        pass


def opened(breaker: Breaker) -> Breaker:
    for _ in range(3):
        fail(breaker)
    return breaker


def test_it_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker)
    fail(breaker)
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"
    with pytest.raises(BreakerOpen) as refused, breaker.guard():
        pytest.fail("an open breaker must not let a call pass")
    assert 0 < refused.value.retry_after_s <= 5.0
    assert breaker.rejected == 1


def test_a_success_between_failures_starts_the_count_again(breaker: Breaker) -> None:
    for _ in range(6):
        fail(breaker)
        fail(breaker)
        succeed(breaker)
    assert breaker.state == "closed"


def test_half_of_many_calls_opens_it(breaker: Breaker) -> None:
    for _ in range(10):
        assert breaker.state == "closed"
        succeed(breaker)
        fail(breaker)
    assert breaker.state == "open"


def test_half_of_few_calls_is_no_reason(breaker: Breaker) -> None:
    for _ in range(9):
        fail(breaker)
        succeed(breaker)
    assert breaker.state == "closed"


def test_old_failures_are_forgotten(breaker: Breaker, clock: Clock) -> None:
    for _ in range(9):
        fail(breaker)
        succeed(breaker)
    clock.now += 11
    fail(breaker)
    succeed(breaker)
    fail(breaker)
    assert breaker.state == "closed"


def test_refusals_and_cancellations_do_not_count(breaker: Breaker) -> None:
    for _ in range(50):
        fail(breaker, Refusal)
        fail(breaker, KeyboardInterrupt)
    assert breaker.state == "closed"


def test_one_probe_closes_it(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 5.1
    assert breaker.is_open(), "until a probe has proved that it can close"
    with breaker.guard():
        assert breaker.state == "half-open"
        with pytest.raises(BreakerOpen), breaker.guard():
            pytest.fail("only one probe at a time")
    assert breaker.state == "closed"


def test_a_failed_probe_opens_it_again(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 5.1
    fail(breaker)
    assert breaker.state == "open"
    assert breaker.is_open()
    assert breaker.transitions["open"] == 2


def test_a_cancelled_probe_teaches_nothing(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 5.1
    fail(breaker, KeyboardInterrupt)
    assert breaker.state == "open"
    succeed(breaker)
    assert breaker.state == "closed"


def test_no_lock_is_held_during_a_call(breaker: Breaker) -> None:
    passed = threading.Event()

    def other() -> None:
        succeed(breaker)
        passed.set()

    with breaker.guard():
        threading.Thread(target=other, daemon=True).start()
        assert passed.wait(5), "a call waited for another one"


def test_a_ticket_lets_one_in_when_a_probe_is_due(breaker: Breaker, clock: Clock) -> None:
    assert not breaker.reserve_probe(), "nobody needs one while it is closed"
    assert breaker.retry_after_s() == 0
    opened(breaker)
    assert not breaker.reserve_probe(), "it is too early"
    assert breaker.retry_after_s() > 1
    clock.now += 5.1
    assert [breaker.reserve_probe() for _ in range(3)] == [True, False, False]
    assert breaker.retry_after_s() == 1, "for all others it is still closed"
    breaker.release_probe()
    assert [breaker.reserve_probe() for _ in range(2)] == [True, False]
    clock.now += 4.1
    assert breaker.reserve_probe(), "nothing was heard of the last one"
    with breaker.guard():
        assert breaker.retry_after_s() == 1, "the probe is under way"
        assert not breaker.reserve_probe()
    assert breaker.retry_after_s() == 0


def test_a_failed_probe_gives_no_ticket_before_its_time(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 5.1
    assert breaker.reserve_probe()
    fail(breaker)
    assert not breaker.reserve_probe()
    clock.now += 5.1
    assert breaker.reserve_probe()
