"""Each mutant is caught by the invariant or the test that is named for it, and not by an exception."""

import pytest
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.mutants_by_rule import ON_TRIAL, MutantByRule
from tests.simulation.mutants_in_payments import IN_PAYMENTS
from tests.simulation.mutants_of_trouble import OF_TROUBLE

from holdfast.simulation.run import quiet_logs, run_seed
from holdfast.simulation.setup import DEEP_EVERY

WORLDS_MAX = 3_000
BY_RULE = ON_TRIAL + IN_PAYMENTS + OF_TROUBLE

pytestmark = pytest.mark.timeout(1_800)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_rule_is_noticed(mutant: Mutant) -> None:
    with quiet_logs(), mutant.broken():
        for seed in range(0, WORLDS_MAX * DEEP_EVERY, DEEP_EVERY):
            if mutant.caught_by in {v.invariant for v in run_seed(seed, to_the_end=True).violations}:
                return
    pytest.fail(f"{mutant.name} survived {WORLDS_MAX} worlds")


@pytest.mark.parametrize("mutant", BY_RULE, ids=lambda mutant: mutant.name)
def test_a_rule_of_which_no_invariant_speaks_is_held_by_its_test(mutant: MutantByRule) -> None:
    mutant.check()
    with mutant.broken(), pytest.raises((AssertionError, pytest.fail.Exception)):
        mutant.check()


def test_there_are_enough_of_them_and_all_differ() -> None:
    names = [mutant.name for mutant in MUTANTS] + [mutant.name for mutant in BY_RULE]
    assert len(set(names)) == len(names) >= 20
