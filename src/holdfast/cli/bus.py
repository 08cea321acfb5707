"""`holdfast bus groups | forget`: who reads the embedded bus, and forgetting a group that nobody uses.

On Kafka its own tools do this (kafka-consumer-groups), and no group holds messages back.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from holdfast.cli.common import DATA_DEFAULT, Data, ExitCode, Json, fail, operator_name
from holdfast.cli.terminal import ask, console, note, say_json

if TYPE_CHECKING:
    from holdfast.bus.postgres import Group, PostgresBus

T = TypeVar("T")

app = typer.Typer(help="Consumer groups of the embedded bus.", no_args_is_help=True)


@app.command()
def groups(data: Data = DATA_DEFAULT, as_json: Json = False) -> None:
    """List consumer groups: living members, messages not read, and messages held only for this group."""
    found = _ask(data, lambda bus: bus.groups())
    if as_json:
        say_json([group._asdict() for group in found])
        return
    from rich.table import Table

    table = Table(box=None)
    for name in ("group", "members", "not read", "held", "gone for"):
        table.add_column(name, justify="left" if name == "group" else "right")
    for group in found:
        counts = (f"{count:,}" for count in (group.members, group.unread, group.held))
        table.add_row(group.name, *counts, _gone(group))
    console().print(table)


@app.command()
def forget(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="The group's name.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the bus's log.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = DATA_DEFAULT,
) -> None:
    """Forget a group that nobody lives in, so that it holds no messages back. A service's own is refused."""
    from holdfast.contracts.card_numbers import holds_card_number
    from holdfast.contracts.topics import SERVICES

    if group in SERVICES:
        fail(ExitCode.CONFLICT, f"{group} is a service's own group: what it has not read must stay")
    if holds_card_number(reason):
        fail(ExitCode.USAGE, "--reason holds what looks like a card number, and it is kept")
    if not yes and not ask(f"Forget {group}? Messages that only it has not read will be deleted."):
        fail(ExitCode.FAILED, "nothing was done")
    forgotten = _ask(data, lambda bus: bus.forget_group(group, operator_name(), reason))
    if forgotten is None:
        fail(ExitCode.NOT_FOUND, f"there is no group {group}")
    if not forgotten:
        fail(ExitCode.CONFLICT, f"somebody lives in {group}: stop its members first")
    note(f"{group} is forgotten")


def _ask(data: Path, question: Callable[["PostgresBus"], T]) -> T:
    """Ask the platform's bus; ends the command where there is none of this kind, or no answer."""
    from holdfast.bus.port import BusUnavailable
    from holdfast.bus.postgres import PostgresBus
    from holdfast.local.info import find
    from holdfast.local.layout import NotRunning

    try:
        info = find(data)
    except NotRunning as error:
        fail(ExitCode.NOT_FOUND, str(error))
    if info.bus.dsn is None:
        fail(ExitCode.CONFLICT, "the bus is Kafka: see kafka-consumer-groups --describe --all-groups")
    bus = PostgresBus(info.bus.dsn)
    try:
        return question(bus)
    except BusUnavailable as error:
        fail(ExitCode.UNAVAILABLE, str(error))
    finally:
        bus.close()


def _gone(group: "Group") -> str:
    if group.members:
        return ""
    return "never there" if group.gone_s is None else f"{max(0.0, group.gone_s) / 3600:,.1f} h"
