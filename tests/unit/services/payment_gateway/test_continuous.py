"""The charge loop as it runs: refilled while calls are slow, held by the breaker, drained at the end."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial

import pytest
from tests.samples import saga_id
from tests.unit.services.payment_gateway.payment_harness import PaymentHarness

from holdfast.messaging.fence import FenceState
from holdfast.messaging.keyed_breaker import KeyedBreaker, KeyedSettings
from holdfast.messaging.store import StoreUnavailable
from holdfast.services.payment_gateway import continuous
from holdfast.services.payment_gateway.call_lanes import HELD_MAX_S
from holdfast.services.payment_gateway.continuous import ContinuousCharges
from holdfast.services.payment_gateway.domain import NotSent, ProviderCall, ProviderResult, Succeeded, Unknown


class Down(Exception):
    pass


class Neutral(Exception):
    """Nothing that a breaker learns from."""


class HeldCaller:
    """Calls that end when the test says so; the breakers learn nothing from them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        settings = KeyedSettings(failures_max=1, few_failures=1, rest_s=4)
        self.breaker = KeyedBreaker("charges", (Down,), settings, clock)
        self.refund_breaker = KeyedBreaker("refunds", (Down,), settings, clock)
        self.open: dict[str, Callable[[ProviderResult], None]] = {}
        self.begun: list[str] = []
        self.guards: dict[str, AbstractContextManager[None]] = {}

    def begin(
        self, calls: Sequence[ProviderCall], ended: Callable[[ProviderCall, ProviderResult], None]
    ) -> None:
        for call in calls:
            breaker = self.breaker if call.verb == "do" else self.refund_breaker
            guard = breaker.guard(call.idempotency_key, fresh=call.is_first)
            guard.__enter__()
            self.guards[call.payment.saga_id] = guard
            self.begun.append(call.payment.saga_id)
            self.open[call.payment.saga_id] = partial(ended, call)

    def end(self, saga: str, answer: ProviderResult) -> None:
        self.guards.pop(saga).__exit__(Neutral, Neutral(), None)
        self.open.pop(saga)(answer)

    def fail_once(self, key: str = "another") -> None:
        with pytest.raises(Down), self.breaker.guard(key):
            raise Down


class Bench:
    """A charge loop with room for two calls, on memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(continuous, "DRAIN_S", 0.0)
        self.world = PaymentHarness()
        self.now_s = 1000.0
        self.caller = HeldCaller(lambda: self.now_s)
        self.charges = ContinuousCharges(
            self.world.loop, self.caller, 2, lambda: self.now_s, idle_s=0.0, linger_s=0.0
        )

    def rounds(self, count: int = 2) -> None:
        for _ in range(count):
            self.charges.run_once()

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
        bench.charges.run_once()
        assert bench.charges.run_once() == continuous.TROUBLE_S
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


def failed_before(bench: Bench, *sagas: str) -> None:
    """Let these charges fail once, and be due again."""
    for saga in sagas:
        bench.world.command("do", saga=saga)
        bench.rounds()
        bench.caller.end(saga, Unknown("http_500"))
        bench.rounds()
    bench.world.now_ms += 60_000
    bench.caller.begun.clear()


def refund(bench: Bench, saga: str) -> None:
    """Let this charge succeed, and be undone."""
    bench.world.command("do", saga=saga)
    bench.rounds()
    bench.caller.end(saga, Succeeded(f"pi_{saga}"))
    bench.rounds()
    bench.world.command("undo", saga=saga)
    bench.caller.begun.clear()


def test_failed_work_that_hangs_leaves_fresh_work_its_places(bench: Bench) -> None:
    failed_before(bench, *FAST[:3])
    bench.rounds()
    hanging = list(bench.caller.begun)
    assert len(hanging) == 1, "failed work has one place of its own"
    bench.world.command("do", saga=SLOW)
    bench.world.command("do", saga=FAST[3])
    bench.rounds()
    assert bench.caller.begun == [*hanging, SLOW, FAST[3]]


def test_what_failed_least_is_asked_again_first(bench: Bench) -> None:
    often, once = FAST[:2]
    failed_before(bench, often)
    bench.rounds()
    bench.caller.end(often, Unknown("http_500"))
    failed_before(bench, once)
    timers = {timer.key.saga_id: timer for timer in bench.world.timers()}
    assert (timers[often].fired, timers[once].fired) == (2, 1)
    with bench.world.store.transaction() as tx:
        tx.set_timers([timers[often]._replace(due_ms=0)])
    bench.rounds()
    assert bench.caller.begun == [once], "although the other has been due for longer"


def test_an_open_breaker_of_charges_holds_no_refund_back_nor_the_other_way_round(bench: Bench) -> None:
    refund(bench, FAST[0])
    bench.caller.fail_once()
    bench.world.command("do", saga=FAST[1])
    bench.rounds()
    assert bench.caller.begun == [FAST[0]], "the refund"
    bench.now_s += 5.1
    with pytest.raises(Down), bench.caller.refund_breaker.guard("another"):
        raise Down
    bench.rounds()
    assert bench.caller.begun == [FAST[0], FAST[1]], "the charge"


def test_what_failed_before_does_not_probe_while_there_is_fresh_work(bench: Bench) -> None:
    failed_before(bench, FAST[0])
    bench.caller.fail_once()
    for saga in FAST[1:4]:
        bench.world.command("do", saga=saga)
    bench.now_s += 5.1
    bench.rounds(5)
    assert len(bench.caller.begun) == 1
    assert bench.caller.begun[0] in FAST[1:4]


def test_without_fresh_work_what_failed_before_probes(bench: Bench) -> None:
    failed_before(bench, FAST[0])
    bench.caller.fail_once()
    bench.rounds()
    assert bench.caller.begun == []
    bench.now_s += 5.1
    bench.rounds()
    assert bench.caller.begun == [FAST[0]]
    bench.world.command("do", saga=SLOW)
    bench.rounds()
    assert bench.caller.begun == [FAST[0], SLOW], "and fresh work that comes now need not wait for it"


def test_while_a_breaker_is_open_the_newest_work_probes(bench: Bench) -> None:
    bench.caller.fail_once()
    for saga in FAST[:3]:
        bench.world.command("do", saga=saga)
        bench.world.now_ms += 10
    bench.now_s += 5.1
    bench.rounds()
    assert bench.caller.begun == [FAST[2]], "the others wait beside those that fail"


def test_a_key_that_is_told_again_of_too_many_requests_holds_back_nobody_else(bench: Bench) -> None:
    failed_before(bench, FAST[0])
    bench.rounds()
    bench.caller.end(FAST[0], Unknown("http_429", retry_after_ms=7_000))
    bench.rounds()
    bench.world.command("do", saga=SLOW)
    bench.rounds()
    assert bench.caller.begun == [FAST[0], SLOW]


def test_no_word_of_the_provider_to_one_key_holds_all_back_for_long(bench: Bench) -> None:
    for saga in FAST[:2]:
        bench.world.command("do", saga=saga)
    bench.rounds()
    bench.caller.end(FAST[0], Unknown("http_429", retry_after_ms=600_000))
    bench.rounds()
    bench.world.command("do", saga=SLOW)
    bench.now_s += HELD_MAX_S + 0.1
    bench.world.now_ms += int(HELD_MAX_S * 1000)
    bench.rounds()
    assert bench.caller.begun == [*FAST[:2], SLOW], "and the key itself waits as long as it was told"


def test_a_locked_object_holds_back_nobody_else(bench: Bench) -> None:
    bench.world.command("do", saga=FAST[0])
    bench.rounds()
    bench.caller.end(FAST[0], Unknown("http_429_lock_timeout", retry_after_ms=7_000))
    bench.rounds()
    bench.world.command("do", saga=SLOW)
    bench.rounds()
    assert bench.caller.begun == [FAST[0], SLOW]
