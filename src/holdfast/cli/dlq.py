"""`holdfast dlq list | show | redrive | discard`: what could not be processed, over all services."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.common import DATA_DEFAULT, Data, ExitCode, Json, fail
from holdfast.cli.terminal import console, note, say, say_json

if TYPE_CHECKING:
    from holdfast.cli.dlq_redriving import DeadLetterRow, Result
    from holdfast.cli.operator import Operator

Service = Annotated[str, typer.Option("--service", metavar="NAME", help="Only of this service.")]
Topic = Annotated[str, typer.Option("--topic", help="Only from this topic.")]
Failure = Annotated[str, typer.Option("--failure", metavar="CODE", help="Only those parked for this reason.")]
Saga = Annotated[str, typer.Option("--saga", metavar="ID", help="Only of this saga.")]
Places = Annotated[
    list[str] | None, typer.Argument(metavar="[PLACE]...", help="topic/partition/offset, as `list` shows it.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the audit log.")]
All = Annotated[bool, typer.Option("--all", help="Everything that is parked.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
Rate = Annotated[float, typer.Option("--rate", min=0.1, help="At most so many a second.")]

WIDTH_IN_PIPES = 240

app = typer.Typer(help="Messages that could not be processed.", no_args_is_help=True)


@app.command("list")
def list_(
    service: Service = "",
    status: Annotated[str, typer.Option(help="parked, redriven, discarded or all.")] = "parked",
    topic: Topic = "",
    failure: Failure = "",
    saga: Saga = "",
    json: Json = False,
    data: Data = DATA_DEFAULT,
) -> None:
    """List dead letters."""
    rows = _rows(_operator(data), service, "" if status == "all" else status, topic, failure, saga)
    if json:
        say_json(rows)
    else:
        _print_table(rows)
        note(f"{len(rows):,} dead letters")


@app.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PLACE")], json: Json = False, data: Data = DATA_DEFAULT
) -> None:
    """Show one with its headers and the beginning of its value, escaped."""
    operator = _operator(data)
    found = [
        row
        for service in _readers(place)
        if (row := operator.get(service, f"/v1/dead-letters/{place}", missing_ok=True)) is not None
    ]
    if not found:
        fail(ExitCode.NOT_FOUND, f"nothing is parked from {place}")
    if json:
        say_json(found)
        return
    for row in found:
        headers = row.pop("headers")
        for name, value in [*row.items(), *((f"  {name}", value) for name, value in headers)]:
            say(f"{name}: {'-' if value is None else value}")


@app.command()
def redrive(
    reason: Reason,
    places: Places = None,
    service: Service = "",
    topic: Topic = "",
    failure: Failure = "",
    saga: Saga = "",
    everything: All = False,
    canary: Annotated[
        bool, typer.Option("--canary", help="1, 5, 25, then all; stop when failures come back.")
    ] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds for a canary's wave to be processed.")] = 60.0,
    rate: Rate = 100.0,
    dry_run: DryRun = False,
    json: Json = False,
    data: Data = DATA_DEFAULT,
) -> None:
    """Have their services process messages once more, as they were."""
    from holdfast.cli.dlq_redriving import Acting

    operator = _operator(data)
    letters = _chosen(operator, places or [], service, topic, failure, saga, everything)
    if dry_run:
        _show_chosen(letters, json)
        return
    result = Acting(operator, reason, rate).redrive(letters, wait, canary=canary)
    _finish(result, "redriven", bool(places), json)


@app.command()
def discard(
    reason: Reason,
    places: Places = None,
    service: Service = "",
    topic: Topic = "",
    failure: Failure = "",
    saga: Saga = "",
    everything: All = False,
    rate: Rate = 100.0,
    dry_run: DryRun = False,
    json: Json = False,
    data: Data = DATA_DEFAULT,
) -> None:
    """Give messages up: they stay in the table, and can no longer be redriven."""
    from holdfast.cli.dlq_redriving import Acting, Result

    operator = _operator(data)
    letters = _chosen(operator, places or [], service, topic, failure, saga, everything)
    if dry_run:
        _show_chosen(letters, json)
        return
    result = Result()
    Acting(operator, reason, rate).act("discard", letters, result)
    _finish(result, "discarded", bool(places), json)


def _operator(data: Path) -> "Operator":
    from holdfast.cli.operator import Operator

    return Operator(data)


def _readers(place: str) -> list[str]:
    """Return the services that read the place's topic: one of them keeps what is parked from it."""
    from holdfast.contracts.topics import READS

    readers = [service for service, topics in READS.items() if place.split("/", maxsplit=1)[0] in topics]
    if not readers or place.count("/") != 2:
        fail(ExitCode.USAGE, f"{place!r} is not a place: write topic/partition/offset, as `list` shows it")
    return readers


def _rows(
    operator: "Operator", service: str, status: str, topic: str, failure: str, saga: str
) -> list[dict[str, Any]]:
    from holdfast.cli.dlq_redriving import pages
    from holdfast.contracts.topics import SERVICES

    if service and service not in SERVICES:
        fail(ExitCode.USAGE, f"{service!r} is not a service: {', '.join(SERVICES)}")
    if status not in ("", "parked", "redriven", "discarded"):
        fail(ExitCode.USAGE, f"{status!r} is not a status: parked, redriven, discarded, all")
    query = {"status": status, "topic": topic, "reason": failure, "saga_id": saga}
    wanted = {name: text for name, text in query.items() if text}
    return [row for name in ([service] if service else SERVICES) for row in pages(operator, name, wanted)]


def _chosen(
    operator: "Operator",
    places: list[str],
    service: str,
    topic: str,
    failure: str,
    saga: str,
    everything: bool,
) -> "list[DeadLetterRow]":
    from holdfast.cli.dlq_redriving import DeadLetterRow

    filters = any((service, topic, failure, saga))
    if sum((bool(places), filters, everything)) != 1:
        fail(ExitCode.USAGE, "name places, or filter, or say --all")
    if places:
        return [DeadLetterRow(name, place, "") for place in places for name in _readers(place)]
    rows = _rows(operator, service, "parked", topic, failure, saga)
    return [DeadLetterRow(row["service"], row["place"], row["reason"]) for row in rows]


def _show_chosen(letters: "list[DeadLetterRow]", json: bool) -> None:
    if json:
        say_json([letter._asdict() for letter in letters])
        return
    for letter in letters:
        say(f"{letter.service}  {letter.place}  {letter.reason}")
    note(f"{len(letters):,} would be acted on; nothing was done")


def _finish(result: "Result", done: str, by_place: bool, json: bool) -> None:
    """Print the result, and end with its exit code."""
    skipped = [(letter, why) for letter, why in result.skipped if why != "missing"]
    if json:
        say_json(
            {
                done: [letter._asdict() for letter in result.done],
                "skipped": [{**letter._asdict(), "why": why} for letter, why in skipped],
                "came_back": [letter._asdict() for letter in result.came_back],
                "unknown": [letter._asdict() for letter in result.unknown],
                "left": result.left,
            }
        )
    else:
        say(f"{len(result.done):,} {done}")
    for letter, why in skipped:
        note(f"{letter.place} at {letter.service} was left as it is: {why}")
    if result.came_back:
        back = sorted({letter.reason for letter in result.came_back})
        many = f"{len(result.came_back):,} came back ({', '.join(back)})"
        fail(ExitCode.FAILED, f"{many}; {result.left:,} were left untouched")
    if result.unknown:
        line = f"of {len(result.unknown):,} nothing is known in time; {result.left:,} were left untouched"
        fail(ExitCode.UNAVAILABLE, line)
    if by_place and not result.done and not skipped:
        fail(ExitCode.NOT_FOUND, "nothing is parked there")


def _print_table(rows: list[dict[str, Any]]) -> None:
    from datetime import UTC, datetime

    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for name in ("service", "place", "status", "reason", "tries", "last", "saga"):
        table.add_column(name, overflow="fold")
    for row in rows:
        last = datetime.fromtimestamp(row["last_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        status = row["status"] + (f" ({row['outcome']})" if row["outcome"] else "")
        cells = (row["service"], row["place"], status, row["reason"], str(row["attempts"]), last)
        table.add_row(*map(Text, cells), Text(row["saga_id"] or "-"))
    console(width_in_pipes=WIDTH_IN_PIPES).print(table)
