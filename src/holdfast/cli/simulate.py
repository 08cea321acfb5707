"""`holdfast simulate`: runs the real services in a deterministic world, with the faults that a seed draws."""

import os
import time
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.common import ExitCode
from holdfast.cli.terminal import console, note, say

if TYPE_CHECKING:
    from holdfast.simulation.campaign import CampaignStats


def simulate(
    seeds: Annotated[int, typer.Option(min=1, help="How many worlds to run.")] = 2_000,
    first: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Only this world; if it fails, shrink and print it.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processors to use.")] = os.cpu_count() or 1,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Small worlds instead, in every order of events.")
    ] = False,
    saga: Annotated[
        str,
        typer.Option(
            help="Prove this definition instead: MODULE:NAME, say holdfast.sagas.checkout:CHECKOUT."
        ),
    ] = "",
    examples: Annotated[
        str, typer.Option(help="Payloads of that saga's events by type: MODULE:NAME of a mapping.")
    ] = "holdfast.simulation.examples:EXAMPLES",
    faults: Annotated[
        int | None,
        typer.Option(min=0, max=4, help="Faults in one run of a small world, instead of 2 (two sagas: 1)."),
    ] = None,
    only: Annotated[str, typer.Option(help="Only the small world of this name.")] = "",
) -> None:
    """Run worlds, end each without faults, check the books. Exit 0: all balance, 1: some do not."""
    if saga or exhaustive:
        _prove(saga, examples, only, faults, jobs)
        return
    if seed is not None:
        _tell(seed)
        return
    from rich.progress import Progress

    from holdfast.simulation import campaign

    began = time.monotonic()
    with Progress(console=console(stderr=True)) as progress:
        bar = progress.add_task("simulating", total=seeds)
        tally = campaign.run(first, seeds, jobs, lambda so_far: progress.update(bar, completed=so_far.runs))
    _report(tally, time.monotonic() - began)
    if tally.failures or tally.is_blind():
        raise typer.Exit(ExitCode.FAILED)


def _prove(saga: str, examples: str, only: str, faults: int | None, processors: int) -> None:
    """Search small worlds: of the definition that is named, or of the checkout's own services."""
    from holdfast.simulation.proof.definition_model import parts
    from holdfast.simulation.proof.prove import SMALL, Job, prove, table, untried
    from holdfast.simulation.proof.replay import Source

    jobs = SMALL
    if saga:
        jobs = tuple(Job(part, 2) for part in parts(_named(saga), _named(examples)))
    names = [job.scope.name for job in jobs]
    if only and only not in names:
        raise typer.BadParameter(f"there is no {only!r}, but: {', '.join(map(repr, names))}")
    jobs = tuple(job for job in jobs if only in ("", job.scope.name))
    if faults is not None:
        jobs = tuple(job._replace(faults=faults) for job in jobs)
    reports = prove(jobs, processors, lambda report: note(f"{report.scope}: {report.states} states"))
    say(*table(reports).split("\n"))
    source = Source(saga, examples)
    found = [(job, finding) for job, report in zip(jobs, reports, strict=True) for finding in report.findings]
    for job, finding in found:
        say("", f"{job.name}: {finding.what}", f"    {source.command(job, finding)}")
        _show(finding.diagram, source.regression_test(job, finding))
    missed = [] if saga or only else untried(reports)
    if missed:
        note(f"never happened: {', '.join(missed)}")
    if found or missed:
        raise typer.Exit(ExitCode.FAILED)


def _named(source: str) -> Any:
    """Return what MODULE:NAME names."""
    module, _, name = source.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise typer.BadParameter(f"{source} names nothing: {error}") from None


def _report(tally: "CampaignStats", seconds: float) -> None:
    from holdfast.simulation.story import command

    faults = f"{tally.fired.total()} faults of {len(tally.fired)} kinds"
    pace = f"{seconds:.1f} s, {tally.runs / seconds:.0f} runs/s"
    say(f"{tally.runs} runs, {tally.sagas} sagas, {tally.actions} actions, {faults} in {pace}")
    missed = tally.missed()
    if missed:
        note(f"never met: {', '.join(missed)}")
    for seed, violation in tally.failures:
        say(str(violation), f"    {command(seed)}")


def _tell(seed: int) -> None:
    from holdfast.simulation.run import quiet_logs, run_seed
    from holdfast.simulation.shrink import shrink
    from holdfast.simulation.story import diagram, regression_test

    with quiet_logs():
        outcome = run_seed(seed)
        if not outcome.violations:
            say(f"seed {seed}: {len(outcome.schedule)} actions, the books balance")
            return
        note(f"seed {seed}: {outcome.violations[0]}; shrinking {len(outcome.schedule)} actions")
        smallest = shrink(outcome)
    for violation in smallest.violations:
        say(str(violation))
    _show(diagram(smallest), regression_test(smallest, f"seed_{seed}"))
    raise typer.Exit(ExitCode.FAILED)


def _show(diagram: str, test: str) -> None:
    """Print what was found as a diagram and as a test to keep."""
    say("", "```mermaid", *diagram.split("\n"), "```", "", *test.split("\n"))
