"""Worlds drawn from seeds: the books of each balance, and together they reach every marker."""

import os
import subprocess
import sys
import time

import pytest

from holdfast.simulation.campaign import run, run_range
from holdfast.simulation.run import quiet_logs, replay, run_seed

SEEDS = 20_000
SEEDS_TWICE = 200

FINGERPRINTS = f"""
from holdfast.simulation.run import quiet_logs, run_seed
with quiet_logs():
    for seed in range({SEEDS_TWICE}):
        print(run_seed(seed).fingerprint())
"""


@pytest.mark.every_core
@pytest.mark.timeout(1_800)
def test_the_books_balance_after_every_storm(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    stats = run(0, SEEDS, os.cpu_count() or 1, lambda _: None)
    with capsys.disabled():
        sys.stdout.write(f"\n{stats.runs} runs in {time.monotonic() - began:.0f} s\n")
    assert stats.failures == []
    assert stats.runs == SEEDS
    assert stats.missed() == [], "a fault that never strikes proves nothing"


def test_several_processors_see_what_one_sees() -> None:
    assert run(0, 60, 2, lambda _: None) == run_range(0, 60)


def test_a_seed_is_the_same_world_in_every_process() -> None:
    first, second = (_fingerprints(hash_seed) for hash_seed in ("0", "1"))
    seen = [each.communicate(timeout=240)[0].split() for each in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(seen[0]) == SEEDS_TWICE
    assert seen[0] == seen[1]


def test_a_schedule_repeats_the_run_that_it_was_drawn_in() -> None:
    with quiet_logs():
        for seed in range(20):
            drawn = run_seed(seed)
            assert replay(drawn.setup, drawn.schedule).fingerprint() == drawn.fingerprint()


def _fingerprints(hash_seed: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", FINGERPRINTS]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
