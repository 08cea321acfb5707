"""Mutants that no invariant notices, each with the test that checks its rule; ADR 10 says why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pybreaker
from tests.simulation.mutant import Broken, both
from tests.unit.messaging import test_breaker, test_relay, test_timers
from tests.unit.messaging.kernel_harness import UNREACHABLE, KernelHarness
from tests.unit.services.checkout_orchestrator import test_checkout_service

from holdfast.bus.port import BusUnavailable
from holdfast.messaging.breaker import Breaker, BreakerSettings
from holdfast.messaging.relay import Relay
from holdfast.messaging.timers import Deadlines
from holdfast.services.checkout_orchestrator import checkout_service


@dataclass(frozen=True)
class MutantByRule:
    """`check` is a test as it stands in tests/unit; with the mutant in place it must fail."""

    name: str
    check: Callable[[], None]
    broken: Callable[[], Broken]


def nobody_looks_for_repeats() -> Broken:
    class Nothing(set[Any]):
        def __contains__(self, _: object) -> bool:
            return False

    real = checkout_service._Batch.__init__

    def init(self: Any, *args: Any) -> None:
        real(self, *args)
        self._processed_event_ids = Nothing()

    return patch.object(checkout_service._Batch, "__init__", init)


def the_relay_retries_in_any_order() -> Broken:
    def give_back(self: Any, batches: Any) -> None:
        self._waiting.extend(reversed(batches))
        self._under_way = ()

    return patch.object(Relay, "_give_back", give_back)


def deadlines_go_by_the_clock_of_the_process() -> Broken:
    real_run, in_time, overdue = Deadlines.run_once, Deadlines._is_in_time, Deadlines._is_overdue

    def run(self: Any, manager: Any) -> None:
        self.wall_ms = manager._monotonic_ms()
        real_run(self, manager)

    return both(
        patch.object(Deadlines, "run_once", run),
        both(
            patch.object(Deadlines, "_is_in_time", lambda self, row, _: in_time(self, row, self.wall_ms)),
            patch.object(Deadlines, "_is_overdue", lambda self, row, _: overdue(self, row, self.wall_ms)),
        ),
    )


def half_open_lets_everybody_probe() -> Broken:
    def refuses(self: Any) -> bool:
        return bool(self.state == pybreaker.STATE_OPEN and self._monotonic() < self._retry_at)

    return patch.object(Breaker, "_refuses", refuses)


def _one_probe() -> None:
    clock = test_breaker.Clock()
    settings = BreakerSettings(failures_max=3, open_s=4.0)
    breaker = Breaker("kafka", (BusUnavailable,), settings, clock)
    test_breaker.test_one_probe_closes_it(breaker, clock)


def _a_repeat() -> None:
    test = test_checkout_service.test_line_4_a_repeated_event_that_changed_the_saga_is_ignored_and_counted
    test(test_checkout_service.Harness(), together=False)


def _after_a_failure() -> None:
    test_relay.test_after_a_failure_the_whole_batch_stays_first_in_the_queue(KernelHarness(), UNREACHABLE)


def _the_databases_clock() -> None:
    test_timers.test_line_13_only_the_databases_clock_makes_a_timer_overdue(test_timers.DeadlineWorld())


ON_TRIAL = [
    MutantByRule("nobody_looks_for_repeats", _a_repeat, nobody_looks_for_repeats),
    MutantByRule("the_relay_retries_in_any_order", _after_a_failure, the_relay_retries_in_any_order),
    MutantByRule(
        "deadlines_go_by_the_clock_of_the_process",
        _the_databases_clock,
        deadlines_go_by_the_clock_of_the_process,
    ),
    MutantByRule("half_open_lets_everybody_probe", _one_probe, half_open_lets_everybody_probe),
]
