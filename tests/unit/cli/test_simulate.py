"""`holdfast simulate` as it is typed: books that balance, a world that fails, a campaign that was blind."""

from collections import Counter
from typing import Any

import pytest
from tests.simulation.mutants import MUTANTS
from typer.testing import CliRunner, Result

from holdfast.cli.main import app
from holdfast.simulation import campaign
from holdfast.simulation.campaign import SEES_ALL, CampaignStats
from holdfast.simulation.coverage_marks import MARKERS
from holdfast.simulation.faults import ALL
from holdfast.simulation.run import quiet_logs, run_seed

TWIN = next(twin for twin in MUTANTS if twin.name == "the_gateway_sends_once")


def simulate(*options: object) -> Result:
    return CliRunner().invoke(app, ["simulate", *map(str, options)])


@pytest.fixture(scope="module")
def failing() -> int:
    """Return a seed whose world breaks where the gateway sends once."""
    with quiet_logs(), TWIN.broken():
        return next(seed for seed in range(0, 800, 8) if run_seed(seed).violations)


def test_some_worlds_balance_and_what_they_did_not_meet_is_told() -> None:
    ended = simulate("--seeds", 3, "--jobs", 1)
    assert ended.exit_code == 0
    assert ended.stdout.startswith("3 runs, ")
    assert "never met: " in ended.stderr


def test_one_world_balances() -> None:
    ended = simulate("--seed", 1)
    assert ended.exit_code == 0
    assert ended.stdout.startswith("seed 1: ")
    assert "the books balance" in ended.stdout


def test_a_world_that_fails_names_the_command_that_repeats_it(failing: int) -> None:
    with TWIN.broken():
        ended = simulate("--first", failing, "--seeds", 1, "--jobs", 1)
    assert ended.exit_code == 1
    assert "I11: " in ended.stdout
    assert f"    holdfast simulate --seed {failing}\n" in ended.stdout


def test_that_command_tells_the_story_and_writes_a_test(failing: int) -> None:
    with TWIN.broken():
        ended = simulate("--seed", failing)
    assert ended.exit_code == 1
    assert ended.stdout.startswith("I11: ")
    story, _, test = ended.stdout.partition("```mermaid\nsequenceDiagram\n")[2].partition("\n```\n")
    assert "initiated" in story
    names: dict[str, Any] = {}
    exec(test, names)
    with quiet_logs():
        names[f"test_seed_{failing}"]()


def test_a_seed_below_zero_is_wrong_usage() -> None:
    assert simulate("--seed", -1).exit_code == 2


EVERYWHERE = CampaignStats(SEES_ALL, fired=Counter(ALL), reached=Counter(MARKERS))


@pytest.mark.parametrize(
    ("tally", "missed"),
    [
        (EVERYWHERE, ""),
        (CampaignStats(SEES_ALL, fired=Counter(ALL), reached=Counter(MARKERS[1:])), MARKERS[0]),
        (CampaignStats(SEES_ALL, fired=Counter(ALL[1:]), reached=Counter(MARKERS)), f"the fault {ALL[0]}"),
    ],
    ids=["all was met", "a place was missed", "a fault never struck"],
)
def test_a_large_campaign_that_missed_something_fails(
    monkeypatch: pytest.MonkeyPatch, tally: CampaignStats, missed: str
) -> None:
    monkeypatch.setattr(campaign, "run", lambda *_: tally)
    ended = simulate("--seeds", SEES_ALL)
    assert ended.exit_code == (1 if missed else 0)
    assert ended.stderr.rstrip().endswith(f"never met: {missed}" if missed else "")
