"""Mutants of calls to the provider, each with the test that checks its rule: they only lose time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from tests.simulation.mutant import Broken, both
from tests.simulation.mutants_by_rule import MutantByRule
from tests.simulation.partial_outage import after_a_crowd, check
from tests.simulation.test_partial_outage import keep_failing
from tests.unit.messaging import test_keyed_breaker
from tests.unit.services.payment_gateway import test_continuous
from tests.unit.services.payment_gateway.test_continuous import Bench

from holdfast.messaging.keyed_breaker import Evidence, KeyedBreaker, _Probes
from holdfast.messaging.store import TimerRow
from holdfast.services.payment_gateway import continuous
from holdfast.services.payment_gateway.call_lanes import CALLS_MAX, LANES, ClaimLimit
from holdfast.services.payment_gateway.continuous import ContinuousCharges
from holdfast.services.payment_gateway.memory_store import MemoryPaymentTransaction
from holdfast.simulation.provider import MASTERCARD, Outage


def a_failed_key_probes() -> Broken:
    def refill(self: Any) -> None:
        self._begin([lane for lane in LANES if not lane.fresh])
        self._begin([lane for lane in LANES if lane.fresh])

    return both(
        patch.object(ContinuousCharges, "_refill", refill),
        patch.object(KeyedBreaker, "_probes", lambda self, **_: self._other_probes),
    )


def one_key_counts_again() -> Broken:
    def failed(self: Any, key: str, began_s: float, **_: bool) -> None:
        self._since_success[f"{key}, once more after {len(self._since_success)}"] = began_s

    return patch.object(Evidence, "failed", failed)


def failed_work_holds_all_places() -> Broken:
    def harness(_: Any, under_way: Any, *__: Any) -> int:
        return max(0, CALLS_MAX - len(under_way))

    return patch.object(continuous, "room", harness)


def a_backlog_of_failed_work_hides_fresh_work() -> Broken:
    real = MemoryPaymentTransaction.peek_due_calls

    def peek(self: Any, limits: Sequence[ClaimLimit], horizon_ms: int) -> list[TimerRow]:
        everything = real(self, [ClaimLimit(*lane, 1_000) for lane in LANES], horizon_ms)
        first = sorted(everything, key=lambda row: row.due_ms)[: max(each.calls_max for each in limits)]
        rows: list[TimerRow] = []
        for verb, fresh, calls_max, _ in limits:
            lane = [row for row in first if row.key.verb == verb and (row.fired == 0) == fresh]
            rows += lane[:calls_max]
        return rows

    return patch.object(MemoryPaymentTransaction, "peek_due_calls", peek)


def charges_and_refunds_share_a_breaker() -> Broken:
    return patch.object(ContinuousCharges, "_breaker", lambda self, _: self._caller.breaker)


def one_probe_at_a_time() -> Broken:
    def one(self: Any, _: int) -> None:
        self.size = self.left = 1

    return both(patch.object(_Probes, "renew", one), patch.object(_Probes, "grow", one))


def the_oldest_work_probes() -> Broken:
    real = ContinuousCharges._limit

    def limit(self: Any, lane: Any) -> ClaimLimit:
        return real(self, lane)._replace(newest_first=False)

    return patch.object(ContinuousCharges, "_limit", limit)


def a_repeated_429_holds_all_back() -> Broken:
    real = ContinuousCharges._heed

    def heed(self: Any, call: Any, answer: Any) -> None:
        real(self, call._replace(attempt=1), answer)

    return patch.object(ContinuousCharges, "_heed", heed)


def _a_crowd() -> None:
    check(after_a_crowd(60, 20), Outage(MASTERCARD))


def _a_crowd_that_hangs() -> None:
    check(after_a_crowd(100, 10), Outage(MASTERCARD, hangs=True))


def _on_a_bench(test: Callable[[Bench], None]) -> Callable[[], None]:
    def run() -> None:
        with _bench() as bench:
            test(bench)

    return run


@contextmanager
def _bench() -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patched:
        yield Bench(patched)


def _growing_probes() -> None:
    clock = test_keyed_breaker.Clock()
    breaker = KeyedBreaker("charges", (test_keyed_breaker.Down,), test_keyed_breaker.SETTINGS, clock)
    test_keyed_breaker.test_probes_grow_while_they_fail_to_a_bound(breaker, clock)


IN_PAYMENTS = [
    MutantByRule("a_failed_key_probes", _a_crowd, a_failed_key_probes),
    MutantByRule("one_key_counts_again", keep_failing, one_key_counts_again),
    MutantByRule("failed_work_holds_all_places", _a_crowd_that_hangs, failed_work_holds_all_places),
    MutantByRule(
        "a_backlog_of_failed_work_hides_fresh_work",
        _on_a_bench(test_continuous.test_failed_work_that_hangs_leaves_fresh_work_its_places),
        a_backlog_of_failed_work_hides_fresh_work,
    ),
    MutantByRule(
        "charges_and_refunds_share_a_breaker",
        _on_a_bench(
            test_continuous.test_an_open_breaker_of_charges_holds_no_refund_back_nor_the_other_way_round
        ),
        charges_and_refunds_share_a_breaker,
    ),
    MutantByRule("one_probe_at_a_time", _growing_probes, one_probe_at_a_time),
    MutantByRule(
        "the_oldest_work_probes",
        _on_a_bench(test_continuous.test_while_a_breaker_is_open_the_newest_work_probes),
        the_oldest_work_probes,
    ),
    MutantByRule(
        "a_repeated_429_holds_all_back",
        _on_a_bench(
            test_continuous.test_a_key_that_is_told_again_of_too_many_requests_holds_back_nobody_else
        ),
        a_repeated_429_holds_all_back,
    ),
]
