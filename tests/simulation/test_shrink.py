"""A failing run is shrunk: fewer actions, the same broken invariant, a regression test."""

from contextlib import nullcontext
from typing import Any

import pytest
from tests.simulation.mutants import MUTANTS

from holdfast.simulation.run import RunResult, quiet_logs, replay, run_seed
from holdfast.simulation.shrink import shrink
from holdfast.simulation.story import command, diagram, parse, regression_test, schedule_text
from holdfast.simulation.world import Action

MUTANT = next(mutant for mutant in MUTANTS if mutant.name == "the_gateway_sends_once")
ACTIONS_MAX = 4


@pytest.fixture(scope="module")
def failed() -> RunResult:
    with quiet_logs(), MUTANT.broken():
        return next(result for result in map(run_seed, range(0, 800, 8)) if result.violations)


@pytest.fixture(scope="module")
def smallest(failed: RunResult) -> RunResult:
    with quiet_logs(), MUTANT.broken():
        return shrink(failed)


def test_the_smallest_schedule_breaks_the_same_and_every_action_of_it_is_needed(
    failed: RunResult, smallest: RunResult
) -> None:
    assert len(smallest.schedule) <= ACTIONS_MAX < len(failed.schedule)
    broken = failed.violations[0].invariant
    assert smallest.violations[0].invariant == broken
    with quiet_logs(), MUTANT.broken():
        for index in range(len(smallest.schedule)):
            rest = smallest.schedule[:index] + smallest.schedule[index + 1 :]
            assert broken not in {v.invariant for v in replay(smallest.setup, rest).violations}


def test_the_story_shows_the_lost_message_and_what_broke(smallest: RunResult) -> None:
    lines = diagram(smallest).splitlines()
    assert lines[0] == "sequenceDiagram"
    assert any("initiated" in line and ("--x" in line or "-)" in line) for line in lines), lines
    assert any("I11" in line for line in lines)


@pytest.mark.parametrize("broken", [True, False], ids=["with the bug", "without it"])
def test_the_regression_test_fails_with_the_bug_and_passes_without(
    smallest: RunResult, *, broken: bool
) -> None:
    names: dict[str, Any] = {}
    exec(regression_test(smallest, "found"), names)
    with quiet_logs(), MUTANT.broken() if broken else nullcontext():
        if broken:
            with pytest.raises(AssertionError):
                names["test_found"]()
        else:
            names["test_found"]()


def test_a_schedule_is_read_as_it_is_written() -> None:
    schedule = [
        Action("start", "0", "lose:1"),
        Action("gateway"),
        Action("gateway", "", "poll.down:1"),
        Action("clock", "payment-gateway+-30000"),
        Action("write", "order-create-1", "store.commit_lost:2"),
    ]
    assert parse(schedule_text(schedule)) == schedule


def test_a_seed_is_one_command() -> None:
    assert command(7) == "holdfast simulate --seed 7"
