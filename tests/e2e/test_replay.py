"""`holdfast replay` of real orders on both buses; who is killed meanwhile changes nothing in how they end."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import running
from tests.e2e.load import UNDER_WAY_MIN, under_way
from tests.eventually import eventually

from holdfast.contracts.topics import ORCHESTRATOR
from holdfast.local.info import POSTGRES
from holdfast.local.orders import read_orders
from holdfast.local.platform import Platform
from holdfast.local.process_table import NAMES
from holdfast.local.session import SAMPLE

KILLED = (POSTGRES, *NAMES)
KILLED_IN_SHORT = (POSTGRES, ORCHESTRATOR)
SOME_ORDERS = ("--limit", "200", "--decline", "5%", "--concurrency", "64")
REPLAY_S = 900
"""Seconds on a machine of one's own; a busy one is nobody's fault."""

pytestmark = pytest.mark.timeout(2 * REPLAY_S)


@pytest.fixture(scope="module", params=["postgres", "kafka"])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform on this bus, which places orders of any size."""
    no_limit = {"HOLDFAST_ORDER_TOTAL_MAX_MINOR": str(2**53 - 1)}
    with running(tmp_path_factory.mktemp("platform"), request.param, **no_limit) as platform:
        yield platform


@pytest.fixture(scope="module")
def undisturbed(platform: Platform) -> dict[str, Any]:
    """What a replay of some orders says when nothing happens to it."""
    return _figures(_started(platform, "undisturbed", *SOME_ORDERS))


def test_every_clean_invoice_completes_and_every_refused_row_is_named(platform: Platform) -> None:
    figures = _figures(_started(platform, "all"))
    assert figures["states"] == {"COMPLETED": 1_059}
    with Path(figures["rejects_file"]).open(newline="") as file:
        refused = list(csv.DictReader(file))
    assert refused == [
        {name: str(value) for name, value in reject._asdict().items()}
        for reject in read_orders(SAMPLE).rejects
    ]
    assert len(refused) == 851
    assert all(row["reason"] for row in refused)
    _books_balance(platform)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in KILLED_IN_SHORT else [pytest.mark.long]) for name in KILLED],
)
def test_a_killed_process_changes_nothing_in_the_counts(
    platform: Platform, undisturbed: dict[str, Any], name: str
) -> None:
    eventually(lambda: under_way(platform) == 0, "nothing is left of the replay before", 60)
    before = _restarts(platform, name)
    replay = _started(platform, f"without-{name}", *SOME_ORDERS)
    eventually(lambda: under_way(platform) >= UNDER_WAY_MIN, "enough sagas are under way", 120)
    platform.kill(name)
    assert replay.poll() is None, "it was killed in mid-run"
    eventually(lambda: _restarts(platform, name) > before, f"{name} is started again", 60)
    figures = _figures(replay)
    assert set(undisturbed["states"]) == {"COMPLETED", "FAILED"}
    assert (figures["states"], figures["reasons"]) == (undisturbed["states"], undisturbed["reasons"])
    platform.wait_ready(90)
    _books_balance(platform)


def _holdfast(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "holdfast.cli.main", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _started(platform: Platform, run: str, *options: str) -> "subprocess.Popen[str]":
    """Begin to replay the sample with ample stock."""
    place = ("--data", platform.info.data)
    return _holdfast("replay", str(SAMPLE), *place, "--run", run, "--json", *options)


def _figures(replay: "subprocess.Popen[str]") -> dict[str, Any]:
    """Let a replay end, with every checkout at its end, and return what it says."""
    said, told = replay.communicate(timeout=REPLAY_S)
    assert replay.returncode == 0, told
    figures: dict[str, Any] = json.loads(said.splitlines()[-1])
    return figures


def _books_balance(platform: Platform) -> None:
    audit = _holdfast("audit", "--data", platform.info.data, "--quiet-timeout", "120")
    said, told = audit.communicate(timeout=REPLAY_S)
    assert audit.returncode == 0, (said, told)


def _restarts(platform: Platform, name: str) -> int:
    info = platform.info
    return info.postgres.restarts if name == POSTGRES else info.services[name].restarts
