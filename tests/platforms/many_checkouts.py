"""Many checkouts at once: one for every scenario and every kind of message that meets a fault in it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.platforms.delivery_faults import DeliveryFault
from tests.platforms.one_process import Buying, OneProcess
from tests.platforms.scenarios import SCENARIOS, Scenario, begin, check


class Case(NamedTuple):
    """One of many checkouts, and the kind of its one message that meets the fault."""

    scenario: Scenario
    kind: str
    buying: Buying

    def __str__(self) -> str:
        return f"{self.scenario.name}, {self.kind}"


EVERY = tuple((scenario, kind) for scenario in SCENARIOS for kind in scenario.kinds_to_strike)
"""Every kind in every scenario."""

EACH_KIND_ONCE = tuple({kind: (scenario, kind) for scenario, kind in reversed(EVERY)}.values())
"""Every kind in the first scenario in which it comes."""


def run_many(
    platform: OneProcess, fault: DeliveryFault, members: Sequence[tuple[Scenario, str]] = EVERY
) -> list[Case]:
    """Start them all, run until all have ended and the books balance, and check every one."""
    bus = platform.wiring.bus
    cases = []
    for scenario, kind in members:
        cases.append(Case(scenario, kind, begin(platform, scenario)))
        bus.strike(cases[-1].buying.saga_id, kind, fault)
    platform.settle()
    for case in cases:
        check(platform, case.scenario, case.buying)
    spared = [str(case) for case in cases if bus.struck[case.buying.saga_id, case.kind] != 1]
    assert spared == [], "a fault that never strikes proves nothing"
    return cases


def deliver_late(platform: OneProcess, cases: list[Case]) -> int:
    """Deliver what was held back, once everything has ended; fail if it changes any row of any checkout."""
    before = [_facts(platform, case) for case in cases]
    late = platform.wiring.bus.release()
    platform.settle()
    after = [_facts(platform, case) for case in cases]
    changed = [str(case) for case, was, now in zip(cases, before, after, strict=True) if was != now]
    assert changed == [], "late messages changed something"
    return len(late)


def _facts(platform: OneProcess, case: Case) -> dict[str, Any]:
    return platform.facts(case.buying)
