"""Which small worlds are searched and how far, on several processors; the results as a table.

A search that leaves a kind of fault untried proves nothing, so that counts as a finding.
"""

import gc
import resource
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import NamedTuple

from holdfast.simulation.proof.checkout import ONE, TWO, CheckoutModel, Scope
from holdfast.simulation.proof.definition_model import DefinitionModel, Part
from holdfast.simulation.proof.search import Search, SearchReport
from holdfast.simulation.proof.space import System
from holdfast.simulation.run import quiet_logs

FAULTS = (
    "message lost",
    "message delayed",
    "message repeated",
    "reordered",
    "crash after commit, before publish",
    "crash after offsets, before publish",
    "crash after publish, before mark",
    "crash after publish, before mark and offsets",
    "crash after mark, before offsets",
    "commit done, reported failed",
    "zombie worker",
    "zombie charge loop",
    "crash with calls in hand",
    "crash after the call",
    "provider: timeout_before",
    "provider: timeout_after",
    "provider: late",
    "provider: stored_500",
    "deadline too early",
    "deadline overdue at once",
    "cancelled by the shopper",
)
"""Every kind. A crash before a commit is none: it leaves a record that comes again, which is no new state."""


class Job(NamedTuple):
    """One search: of the checkout's services (`Scope`), or of a saga definition (`Part`)."""

    scope: Scope | Part
    faults: int

    @property
    def name(self) -> str:
        """Name it for the table."""
        sagas = self.scope.sagas
        return f"{sagas} {'saga' if sagas == 1 else 'sagas'} x {self.faults}, {self.scope.name}"

    def system(self) -> System:
        """Make the small world."""
        return CheckoutModel(self.scope) if isinstance(self.scope, Scope) else DefinitionModel(self.scope)


SMALL = (*(Job(scope, 2) for scope in ONE), *(Job(scope, 1) for scope in TWO))
"""What every test run searches: one saga with two faults, two sagas with one."""

LARGE = (*(Job(scope, 3) for scope in ONE), *(Job(scope, 2) for scope in TWO))
"""What takes minutes each, and at most 5 GB: one saga with three faults, two sagas with two."""


def search(job: Job, findings_max: int = 1) -> SearchReport:
    """Search one small world in this process."""
    began = time.process_time()
    gc.disable()  # millions of tuples that live to the end
    try:
        with quiet_logs():
            report = Search(job.system(), job.faults, findings_max).run()
    finally:
        gc.enable()
    report.scope = job.name
    report.seconds = time.process_time() - began
    report.megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return report


def prove(
    jobs: Iterable[Job], processors: int, on_report: Callable[[SearchReport], None] = lambda _: None
) -> list[SearchReport]:
    """Search all, the last job first; `on_report` is called with each report as its search ends."""
    ordered = list(jobs)
    reports: dict[str, SearchReport] = {}
    with ProcessPoolExecutor(processors, max_tasks_per_child=1) as pool:
        for done in as_completed([pool.submit(search, job) for job in reversed(ordered)]):
            report = done.result()
            reports[report.scope] = report
            on_report(report)
    return [reports[job.name] for job in ordered]


def untried(reports: Iterable[SearchReport]) -> list[str]:
    """Name the kinds of faults that never happened."""
    fired = {kind for report in reports for kind, times in report.fired.items() if times}
    return [kind for kind in FAULTS if kind not in fired]


def table(reports: Iterable[SearchReport]) -> str:
    """Write what was searched as a Markdown table."""
    lines = [
        "| Scope | States | Moves | Ends | Processor seconds | Megabytes |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for r in reports:
        size = f"{r.states:,} | {r.moves:,} | {r.ends}"
        lines.append(f"| {r.scope} | {size} | {r.seconds:.1f} | {r.megabytes:,} |")
    return "\n".join(lines)
