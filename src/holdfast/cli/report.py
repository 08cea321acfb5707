"""Shows a replay to people: a progress bar on the terminal, and a table at the end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from holdfast.cli.terminal import console

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.local.replay import ReplayResult
    from holdfast.local.session import RunReport

PROBLEMS_SHOWN = 5
WIDTH_IN_PIPES = 250


@contextmanager
def progress(total: int) -> "Iterator[Callable[[ReplayResult], None]]":
    """Show a bar on stderr while a replay runs; on anything but a terminal show nothing."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, disable=not shown.is_terminal) as bar:
        task = bar.add_task("checkouts", total=total)
        yield lambda _outcome: bar.advance(task)


def print_report(report: "RunReport", books: str | None = None) -> None:
    """Print what was read, how the checkouts ended, how fast, and the audit's result."""
    from rich.table import Table

    figures = report.summary()
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for words in _orders(figures), _ends(figures), _speed(figures):
        for row in words:
            table.add_row(*row)
        table.add_section()
    if books is not None:
        table.add_row("books", books)
    console(width_in_pipes=WIDTH_IN_PIPES).print(table)


def problems(report: "RunReport") -> list[str]:
    """One line for each of the first checkouts whose end is not known, and one that counts the others."""
    lines = [f"{each.invoice}: {each.state}: {each.detail}" for each in report.stats.unfinished]
    more = len(lines) - PROBLEMS_SHOWN
    return [*lines[:PROBLEMS_SHOWN], *([f"... and {more} more"] if more > 0 else [])]


def _orders(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    reasons = figures["rejects_by_reason"]
    return [
        ("rows read", f"{figures['rows']:,}", f"{figures['invoices']:,} clean invoices"),
        (
            "rows refused",
            f"{figures['rejects']:,}",
            ", ".join(f"{n:,} {name}" for name, n in reasons.items()),
        ),
        ("rows with another price", f"{figures['rows_otherwise_priced']:,}", "than the catalogue's"),
    ]


def _ends(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    states = {"COMPLETED": 0, "FAILED": 0} | figures["states"]
    return [
        *((state.lower(), f"{count:,}", "") for state, count in states.items()),
        *(("", f"{count:,}", reason) for reason, count in figures["reasons"].items()),
    ]


def _speed(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [
        ("checkouts/s", _number(figures["per_s"]), f"in {figures['seconds']:.1f} s"),
        ("p50 ms", _number(figures["p50_ms"]), "from the checkout sent to its order placed"),
        ("p99 ms", _number(figures["p99_ms"]), ""),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
