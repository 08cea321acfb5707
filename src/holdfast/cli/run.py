"""`holdfast run`: starts a platform, replays a thousand real orders, checks the books, stops everything."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import platform as platform_command
from holdfast.cli import replay as replay_command
from holdfast.cli.common import DATA_DEFAULT, Data, ExitCode, Json, fail
from holdfast.cli.terminal import note, say_json

if TYPE_CHECKING:
    from holdfast.audit import AuditReport
    from holdfast.local.platform import Platform
    from holdfast.local.replay import ReplayPlan
    from holdfast.local.session import RunReport

STOCK = 2_500
"""With so many pieces of each code, about one order in twenty-five of the sample is out of stock."""

READY_S = 120.0
QUIET_S = 120.0
VIOLATIONS_SHOWN = 20
_BOOKS = {0: "balance", 3: "nothing to check", 4: "not at rest in time"}


def run(
    *,
    data: Data = DATA_DEFAULT,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", min=1, max=65_535, help="The gateway's; default: a free one."),
    ] = None,
    stock: Annotated[
        int, typer.Option(min=0, metavar="N", help="Pieces of each code on hand at the start.")
    ] = STOCK,
    decline: replay_command.Decline = "5%",
    concurrency: Annotated[
        int, typer.Option(min=1, metavar="C", help="At most so many checkouts at once.")
    ] = replay_command.CONCURRENCY,
    as_json: Json = False,
) -> None:
    """Start a platform, replay the sample orders, check the books, stop everything. Exit 0 if all is well."""
    from holdfast.local.platform import Platform
    from holdfast.local.replay import ReplayPlan
    from holdfast.local.session import fresh_run

    plan = ReplayPlan(fresh_run(), declined=replay_command.share(decline), concurrency=concurrency)
    _stop_at_any_signal()
    try:
        report, books = _all_of_it(Platform(data, gateway_port=port, say=note), data, plan, stock)
    except KeyboardInterrupt:
        fail(ExitCode.INTERRUPTED, "Interrupted; nothing is left running.")
    _tell(report, books, as_json=as_json)
    well = books.exit_code == 0 and not report.stats.unfinished
    raise typer.Exit(ExitCode.DONE if well else ExitCode.FAILED)


def _all_of_it(
    platform: "Platform", data: Path, plan: "ReplayPlan", stock: int
) -> "tuple[RunReport, AuditReport]":
    from holdfast import audit
    from holdfast.local.platform import NotReady
    from holdfast.local.session import SAMPLE, Target

    orders = replay_command.read(SAMPLE)
    note(f"Starting a platform on {data} ...")
    platform_command.start(platform)
    try:
        platform.wait_ready(READY_S)
        replay_command.list_rejects(data / "rejects.csv", orders)
        report = replay_command.carry_out(Target.of(platform.info), orders, plan, stock)
        note("Checking the books ...")
        return report, audit.run(data, QUIET_S)
    except audit.SourceUnavailable as error:
        fail(ExitCode.UNAVAILABLE, str(error))
    except NotReady as error:
        fail(ExitCode.FAILED, f"{error} after {READY_S:.0f} s; the logs are in {platform.folder.logs}")
    finally:
        note("Stopping ...")
        platform.stop()


def _stop_at_any_signal() -> None:
    """Treat every request to end as Ctrl-C, so that the platform is stopped in order.

    Shells start background jobs with SIGINT ignored; then a SIGTERM would be, too.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signals = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # not under nohup
        signals.append(signal.SIGHUP)
    for number in signals:
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


def _tell(report: "RunReport", books: "AuditReport", *, as_json: bool) -> None:
    from holdfast.cli.report import print_report, problems

    violations = [str(violation) for violation in books.violations]
    for line in (*problems(report), *violations[:VIOLATIONS_SHOWN], *books.quiet):
        note(line)
    if as_json:
        verdict = {"exit_code": books.exit_code, "violations": violations, "quiet": books.quiet}
        figures = report.summary() | {"books": verdict}
        say_json(figures)
    else:
        print_report(report, _BOOKS.get(books.exit_code, f"violations: {len(violations)}"))
