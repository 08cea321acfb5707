"""Each buggy twin is caught, by the invariant or the test that was named for it and not by an exception."""

import pytest
from tests.simulation.twins import TWINS, Twin
from tests.simulation.twins_in_payments import IN_PAYMENTS
from tests.simulation.twins_on_trial import ON_TRIAL, OnTrial

from holdfast.simulation.run import quiet_logs, run_seed
from holdfast.simulation.setup import DEEP_EVERY

WORLDS_MAX = 3_000

pytestmark = pytest.mark.timeout(1_800)


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_a_broken_rule_is_noticed(twin: Twin) -> None:
    with quiet_logs(), twin.broken():
        for seed in range(0, WORLDS_MAX * DEEP_EVERY, DEEP_EVERY):
            if twin.caught_by in {v.invariant for v in run_seed(seed, to_the_end=True).violations}:
                return
    pytest.fail(f"{twin.name} survived {WORLDS_MAX} worlds")


@pytest.mark.parametrize("twin", ON_TRIAL + IN_PAYMENTS, ids=lambda twin: twin.name)
def test_a_rule_of_which_no_invariant_speaks_is_held_by_its_test(twin: OnTrial) -> None:
    twin.check()
    with twin.broken(), pytest.raises((AssertionError, pytest.fail.Exception)):
        twin.check()


def test_there_are_enough_of_them_and_all_differ() -> None:
    names = [twin.name for twin in TWINS] + [twin.name for twin in ON_TRIAL + IN_PAYMENTS]
    assert len(set(names)) == len(names) >= 20
