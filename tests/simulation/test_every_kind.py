"""Every kind of message lost, doubled or held back until after the end, in every scenario; virtual time."""

from collections.abc import Iterator
from itertools import combinations

import pytest
from tests.platforms.delivery_faults import DeliveryFault
from tests.platforms.memory import memory_platform
from tests.platforms.one_process import OneProcess
from tests.platforms.scenarios import SCENARIOS, Scenario, play

from holdfast.contracts.topics import PAYLOADS
from holdfast.simulation.run import quiet_logs

CASES = [
    pytest.param(scenario, kind, fault, id=f"{scenario.name}-{kind}-{fault}")
    for scenario in SCENARIOS
    for kind in scenario.kinds_to_strike
    for fault in DeliveryFault
]


@pytest.fixture
def platform() -> Iterator[OneProcess]:
    with quiet_logs():
        yield memory_platform()


def test_every_kind_of_the_contracts_is_struck_in_some_scenario() -> None:
    assert {kind for scenario in SCENARIOS for kind in scenario.kinds_to_strike} == set(PAYLOADS)


@pytest.mark.parametrize(("scenario", "kind", "fault"), CASES)
def test_one_message_that_is_lost_repeated_or_late(
    platform: OneProcess, scenario: Scenario, kind: str, fault: DeliveryFault
) -> None:
    bus = platform.wiring.bus
    buying = play(platform, scenario, {kind: fault})
    assert bus.struck[buying.saga_id, kind] == 1
    before = platform.facts(buying)
    late = bus.release()
    assert bool(late) == (fault is DeliveryFault.HELD or bool(scenario.silent))
    platform.settle()
    assert platform.facts(buying) == before, "a late message changed something"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_one_message_each_of_two_kinds_is_lost(scenario: Scenario) -> None:
    with quiet_logs():
        for pair in combinations(scenario.kinds_to_strike, 2):
            platform = memory_platform()
            buying = play(platform, scenario, dict.fromkeys(pair, DeliveryFault.LOST))
            assert [platform.wiring.bus.struck[buying.saga_id, kind] for kind in pair] == [1, 1], pair


@pytest.mark.parametrize("fault", [DeliveryFault.DOUBLED, DeliveryFault.HELD])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_one_message_of_every_kind_that_is_lost_repeated_or_late(
    platform: OneProcess, scenario: Scenario, fault: DeliveryFault
) -> None:
    kinds = scenario.kinds_to_strike
    buying = play(platform, scenario, dict.fromkeys(kinds, fault))
    assert [kind for kind in kinds if not platform.wiring.bus.struck[buying.saga_id, kind]] == []
    before = platform.facts(buying)
    platform.wiring.bus.release()
    platform.settle()
    assert platform.facts(buying) == before
