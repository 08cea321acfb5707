"""`holdfast audit`: do the books balance? Reads every database and the provider's ledger, writes nothing."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.common import DATA_DEFAULT, Data, ExitCode, Json, fail
from holdfast.cli.terminal import console, note, say_json

if TYPE_CHECKING:
    from rich.table import Table

    from holdfast.audit import AuditReport, Sources

VIOLATIONS_SHOWN = 100
SAY_EVERY_S = 5.0
WIDTH_IN_PIPES = 250


def audit(
    data: Data = DATA_DEFAULT,
    sources: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A JSON file naming databases, bus and ledger, instead of --data."),
    ] = None,
    quiet_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait until nothing is on its way.")
    ] = 60.0,
    as_json: Json = False,
) -> None:
    """Check the books. Exit 0: they balance, 1: they don't, 3: nothing to check, 4: it did not get quiet."""
    from holdfast.audit import SourceUnavailable, run_on

    try:
        report = run_on(_sources(data, sources), quiet_timeout, _ProgressPrinter())
    except SourceUnavailable as error:
        fail(ExitCode.UNAVAILABLE, str(error))
    if as_json:
        say_json(report)
    else:
        _print(report)
    raise typer.Exit(report.exit_code)


class _ProgressPrinter:
    """Says what is still waited for, now and then."""

    def __init__(self, every_s: float = SAY_EVERY_S) -> None:
        self._every_s = every_s
        self._next = 0.0

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            note(f"Waiting: {line}")
            self._next = now + self._every_s


def _sources(data: Path, file: Path | None) -> "Sources":
    from holdfast.audit.sources import InvalidSources, of_file, of_platform
    from holdfast.local.layout import NotRunning

    try:
        return of_platform(data) if file is None else of_file(file)
    except NotRunning as error:
        fail(ExitCode.NOT_FOUND, str(error))
    except InvalidSources as error:
        fail(ExitCode.USAGE, str(error))


def _print(report: "AuditReport") -> None:
    """Print what was found on stdout; say the verdict, and what qualifies it, on stderr."""
    shown = console(width_in_pipes=WIDTH_IN_PIPES)
    if report.violations:
        shown.print(_violations(report))
    shown.print(_summary(report))
    for reason in report.quiet:
        note(f"Not quiet: {reason}")
    note(_verdict(report))


def _violations(report: "AuditReport") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for name in ("invariant", "saga"):
        table.add_column(name, no_wrap=True)
    table.add_column("what", overflow="fold")
    for each in report.violations[:VIOLATIONS_SHOWN]:
        table.add_row(each.invariant, Text(each.key), Text(each.text))  # no markup: a code may hold brackets
    more = len(report.violations) - VIOLATIONS_SHOWN
    if more > 0:
        table.add_row("...", f"{more:,} more", "--json shows all")
    return table


def _summary(report: "AuditReport") -> "Table":
    from rich.table import Table

    table = Table(box=None, show_header=False)
    for state, count in report.counts.items():
        table.add_row(state, f"{count:,}")
    for currency, money in report.money.items():
        words = f"{money.charged:,} charged, {money.refunded:,} refunded, {money.completed:,} completed"
        table.add_row(currency, words)
    for parked in report.parked:
        table.add_row("parked", f"{parked.count:,} of {parked.topic} at {parked.service}: {parked.reason}")
    return table


def _verdict(report: "AuditReport") -> str:
    from holdfast.audit.report import AuditExit

    match report.exit_code:
        case AuditExit.CLEAN:
            return f"The books balance: {sum(report.counts.values()):,} sagas, {len(report.checked)} queries."
        case AuditExit.NOTHING_TO_CHECK:
            return "Nothing to check: there is no saga at all."
        case AuditExit.NOT_QUIET:
            return "It did not get quiet in time; what must hold at any moment does."
        case _:
            return f"The books do not balance: {len(report.violations):,} violations."
