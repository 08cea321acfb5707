"""The charge loop as it runs: refilled while calls are slow, held by the breaker, drained at the end."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest
from tests.samples import saga_id
from tests.unit.services.payment_gateway.world import PaymentWorld

from holdfast.messaging.breaker import Breaker, BreakerSettings
from holdfast.messaging.fence import FenceState
from holdfast.messaging.store import StoreUnavailable
from holdfast.services.payment_gateway import continuous
from holdfast.services.payment_gateway.continuous import ContinuousCharges
from holdfast.services.payment_gateway.domain import Answer, Call, NotSent, Succeeded, Unknown


class Down(Exception):
    pass


class HeldCaller:
    """Calls that end when the test says so."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.breaker = Breaker("provider", (Down,), BreakerSettings(failures_max=1, open_s=4), clock)
        self.open: dict[str, Callable[[Answer], None]] = {}
        self.begun: list[str] = []

    def begin(self, calls: Sequence[Call], ended: Callable[[Call, Answer], None]) -> None:
        for call in calls:
            self.begun.append(call.payment.saga_id)
            self.open[call.payment.saga_id] = partial(ended, call)

    def end(self, saga: str, answer: Answer) -> None:
        self.open.pop(saga)(answer)

    def fail_once(self) -> None:
        with pytest.raises(Down), self.breaker.guard():
            raise Down


class Bench:
    """A charge loop with room for two calls, on memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(continuous, "DRAIN_S", 0.0)
        self.world = PaymentWorld()
        self.now_s = 1000.0
        self.caller = HeldCaller(lambda: self.now_s)
        self.charges = ContinuousCharges(
            self.world.loop, self.caller, 2, lambda: self.now_s, idle_s=0.0, linger_s=0.0
        )

    def rounds(self, count: int = 2) -> None:
        for _ in range(count):
            self.charges.round()

    def state(self, saga: str) -> FenceState:
        return self.world.fence(saga).state


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


SLOW, *FAST = [saga_id(n) for n in range(1, 6)]


def test_a_slow_call_holds_up_nobody(bench: Bench) -> None:
    for saga in (SLOW, *FAST):
        bench.world.command("do", saga=saga)
    for saga in FAST:
        bench.rounds()
        assert bench.caller.begun[-1] == saga
        bench.caller.end(saga, Succeeded(f"pi_{saga}"))
    bench.rounds()
    assert [bench.state(saga) for saga in FAST] == [FenceState.DONE] * len(FAST)
    assert bench.state(SLOW) is FenceState.RUNNING
    bench.caller.end(SLOW, Succeeded("pi_slow"))
    bench.rounds()
    assert bench.state(SLOW) is FenceState.DONE
    assert bench.charges.under_way() == 0


def test_no_more_calls_are_under_way_than_allowed(bench: Bench) -> None:
    for saga in (SLOW, *FAST):
        bench.world.command("do", saga=saga)
    bench.rounds(5)
    assert len(bench.caller.begun) == bench.charges.under_way() == 2


def test_answers_that_come_together_are_recorded_in_one_transaction(bench: Bench) -> None:
    for saga in FAST[:2]:
        bench.world.command("do", saga=saga)
    bench.rounds()
    for saga in FAST[:2]:
        bench.caller.end(saga, Succeeded(f"pi_{saga}"))
    bench.rounds()
    assert len(bench.world.rows("outbox")) == 1


def test_an_open_breaker_claims_nothing_and_spends_no_attempt_then_one_probe_passes(bench: Bench) -> None:
    for saga in FAST[:3]:
        bench.world.command("do", saga=saga)
    before = bench.world.timers()
    bench.caller.fail_once()
    bench.rounds(5)
    assert bench.caller.begun == []
    assert bench.world.timers() == before
    bench.now_s += 5.1
    bench.rounds(1)
    assert len(bench.caller.begun) == 1, "the probe"


def test_a_call_that_the_breaker_held_back_after_its_claim_spends_no_attempt(bench: Bench) -> None:
    bench.world.command("do", saga=SLOW)
    bench.rounds()
    bench.caller.end(SLOW, NotSent(3_000))
    bench.rounds()
    [timer] = bench.world.timers()
    assert (timer.fired, timer.due_ms) == (0, bench.world.now_ms + 3_000)
    assert bench.world.payment(SLOW).last_error == ""


def test_a_provider_with_too_many_requests_is_left_alone_as_long_as_it_says(bench: Bench) -> None:
    for saga in FAST[:3]:
        bench.world.command("do", saga=saga)
    bench.rounds()
    bench.caller.end(FAST[0], Unknown("http_429", retry_after_ms=7_000))
    bench.rounds(5)
    assert len(bench.caller.begun) == 2
    bench.now_s += 7.1
    bench.rounds()
    assert len(bench.caller.begun) == 3


def test_trouble_of_the_database_loses_no_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.world.command("do", saga=SLOW)
    bench.rounds()
    bench.caller.end(SLOW, Succeeded("pi_slow"))

    def down(*_: object) -> int:
        raise StoreUnavailable("down")

    with monkeypatch.context() as broken:
        broken.setattr(bench.world.loop, "record", down)
        bench.charges.round()
        assert bench.charges.round() == continuous.TROUBLE_S
    bench.rounds()
    assert bench.state(SLOW) is FenceState.DONE


def test_a_drain_records_what_ended_and_gives_the_rest_to_others_at_once(bench: Bench) -> None:
    for saga in (SLOW, FAST[0]):
        bench.world.command("do", saga=saga)
    bench.rounds(1)
    bench.caller.end(FAST[0], Succeeded("pi_fast"))
    bench.charges.drain()
    assert bench.state(FAST[0]) is FenceState.DONE
    assert bench.world.payment(SLOW).last_error == "stopped"
    assert bench.world.advance_to_next_call() < 1_000, "no lease to wait for"
    [again] = bench.world.loop.claim()
    assert again.idempotency_key == f"{SLOW}:payment:do"
