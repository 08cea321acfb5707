"""Many seeds, on several processors: what was run, what it reached, and what broke."""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field

from holdfast.contracts.topics import ORCHESTRATOR
from holdfast.simulation.coverage_marks import MARKERS, reached
from holdfast.simulation.faults import ALL
from holdfast.simulation.run import quiet_logs, run_seed

CHUNK = 50
FAILURES_KEPT = 20
CLEAN_START = "forkserver"
"""A child that is forked from the caller itself inherits the locks that its other threads hold."""
SEES_ALL = 20_000
"""A campaign of so many runs must have met every fault and marker; a smaller one may miss some."""


@dataclass
class CampaignStats:
    """Counts of a campaign, or of a part of it."""

    runs: int = 0
    actions: int = 0
    sagas: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: "CampaignStats") -> None:
        """Add another part."""
        self.runs += other.runs
        self.actions += other.actions
        self.sagas += other.sagas
        self.fired += other.fired
        self.reached += other.reached
        self.failures = sorted(self.failures + other.failures)[:FAILURES_KEPT]

    def missed(self) -> list[str]:
        """Name the faults that never struck and the markers that were never reached."""
        faults = [f"the fault {name}" for name in ALL if not self.fired[name]]
        return faults + [marker for marker in MARKERS if not self.reached[marker]]

    def is_blind(self) -> bool:
        """Tell whether something was missed although the campaign was large enough to meet everything."""
        return self.runs >= SEES_ALL and bool(self.missed())


def run_range(first: int, count: int) -> CampaignStats:
    """Run some seeds in this process, one after the other."""
    stats = CampaignStats()
    with quiet_logs():
        for seed in range(first, first + count):
            result = run_seed(seed)
            stats.runs += 1
            stats.actions += len(result.schedule)
            stats.sagas += len(result.world.table(ORCHESTRATOR, "saga"))
            stats.fired += result.world.faults.fired
            stats.reached.update(reached(result.world))
            if result.violations:
                stats.failures.append((seed, str(result.violations[0])))
    return stats


def run(
    first: int, seeds: int, jobs: int, on_progress: Callable[[CampaignStats], None], for_s: float = 0
) -> CampaignStats:
    """Run seeds on `jobs` processors, for about `for_s` seconds if given; `on_progress` gets the totals."""
    total = CampaignStats()
    until = time.monotonic() + for_s if for_s else float("inf")
    for part in _chunks_done(first, seeds, jobs, until):
        total.add(part)
        on_progress(total)
    return total


def _chunks_done(first: int, seeds: int, jobs: int, until: float) -> Iterator[CampaignStats]:
    chunks = [(at, min(CHUNK, first + seeds - at)) for at in range(first, first + seeds, CHUNK)]
    if jobs == 1:
        for chunk in chunks:
            if time.monotonic() > until:
                return
            yield run_range(*chunk)
        return
    processes = multiprocessing.get_context(CLEAN_START)
    with ProcessPoolExecutor(min(jobs, os.cpu_count() or 1), processes) as pool:
        waiting = {pool.submit(run_range, *chunk) for chunk in chunks}
        for done in as_completed(waiting):
            yield done.result()
            if time.monotonic() > until:
                pool.shutdown(cancel_futures=True)
                return
