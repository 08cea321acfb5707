"""The audit: wait until the system is quiet, copy all books, run the query of every invariant, judge.

`invariants` lists the queries; `quiescence` defines when the system is quiet.
"""

from collections.abc import Callable
from pathlib import Path

from holdfast.audit import quiescence
from holdfast.audit.invariants import INVARIANTS, find_violations
from holdfast.audit.positions import open_bus
from holdfast.audit.report import AuditReport, Money, ParkedMessages, outcome
from holdfast.audit.scratch import Scratch, open_scratch
from holdfast.audit.sessions import Books
from holdfast.audit.sources import Sources, of_platform
from holdfast.contracts.topics import SERVICES
from holdfast.saga.diagram import edges
from holdfast.sagas.checkout import CHECKOUT

Progress = Callable[[str], None]


def run(data_dir: Path, quiet_timeout_s: float = 60.0, progress: Progress = lambda line: None) -> AuditReport:
    """Audit the platform that runs on this data folder.

    Raises local.layout.NotRunning, and SourceUnavailable if a book cannot be read.
    """
    return run_on(of_platform(data_dir), quiet_timeout_s, progress)


def run_on(
    sources: Sources, quiet_timeout_s: float = 60.0, progress: Progress = lambda line: None
) -> AuditReport:
    """Audit these sources; `progress` hears what the audit still waits for. Raises SourceUnavailable.

    If the system is not quiet in time, only the invariants that always hold are checked: a violation of one
    of these is certain nevertheless.
    """
    with Books(sources) as books, open_bus(sources) as ask_bus:
        reasons = quiescence.wait(books, ask_bus, quiet_timeout_s, progress)
        return _check(sources, books, reasons)


def _check(sources: Sources, books: Books, reasons: list[str]) -> AuditReport:
    """Copy the books at their open moment, and check every invariant that `reasons` allow."""
    with open_scratch(sources.scratch or sources.orchestrator) as scratch:
        scratch.fill(books, {(edge.before, edge.after) for edge in edges(CHECKOUT)})
        parked = _parked(books)
        books.close()  # from here on no snapshot burdens the services' databases
        checked = [each for each in INVARIANTS if each.always or not reasons]
        violations = find_violations(scratch, checked)
        counts: dict[str, int] = dict(scratch.rows("count_states"))
        return AuditReport(
            exit_code=outcome(violations, reasons, counts),
            violations=violations,
            quiet=reasons,
            counts=counts,
            money=_money(scratch),
            parked=parked,
            checked=[each.query for each in checked],
        )


def _money(scratch: Scratch) -> dict[str, Money]:
    return {
        currency: Money(charged or 0, refunded or 0, completed or 0)
        for currency, charged, refunded, completed in scratch.rows("sum_money")
    }


def _parked(books: Books) -> list[ParkedMessages]:
    return [
        ParkedMessages(service, topic, reason, count)
        for service in SERVICES
        for topic, reason, count in books.rows(service, "count_parked")
    ]
