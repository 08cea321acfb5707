"""`holdfast bus ...`: lists and forgets consumer groups on PostgreSQL, and sets a bus up.

On Kafka its own tools do this (kafka-consumer-groups), and no group holds messages back.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from holdfast.cli.common import DATA_DEFAULT, Data, ExitCode, Json, fail, operator_name
from holdfast.cli.repartition import repartition
from holdfast.cli.terminal import ask, console, note, say, say_json

if TYPE_CHECKING:
    from holdfast.bus.postgres.bus import Group, PostgresBus

T = TypeVar("T")

app = typer.Typer(help="The bus: its consumer groups, and who may do what on it.", no_args_is_help=True)
app.command()(repartition)


@app.command()
def setup(
    dsn: Annotated[
        str,
        typer.Option(metavar="DSN", help="The bus's database, as its owner; with passfile=FILE."),
    ],
    partitions: Annotated[int, typer.Option(min=1, max=1000, help="Of each topic.")] = 12,
) -> None:
    """Make the bus in a PostgreSQL database, and let each service do there what is its own. Repeat at will.

    The services' login roles must be there: see docs/how-to/run-on-clusters.md.
    """
    from holdfast.bus.port import BusUnavailable
    from holdfast.bus.postgres import schema as postgres_schema
    from holdfast.contracts.topics import all_topics
    from holdfast.messaging.database_session import check_typed_dsn
    from holdfast.runtime.principals import postgres_access

    try:
        check_typed_dsn(dsn)
        postgres_schema.set_up(dsn, all_topics(), partitions, postgres_access())
    except ValueError as error:
        fail(ExitCode.USAGE, str(error))
    except BusUnavailable as error:
        fail(ExitCode.UNAVAILABLE, str(error))
    note(f"{len(all_topics())} topics are there, each with {partitions} partitions and its rights")


@app.command()
def acls(
    apply: Annotated[
        bool, typer.Option("--apply", help="Bring them to the cluster; make its topics.")
    ] = False,
    bootstrap: Annotated[str, typer.Option(metavar="HOST:PORT,...", help="The cluster, with --apply.")] = "",
    partitions: Annotated[int, typer.Option(min=1, max=1000, help="Of each topic.")] = 12,
) -> None:
    """Print Kafka's access rules for every service, as arguments of kafka-acls.sh, or apply them.

    With --apply the login of an administrator is read from HOLDFAST_KAFKA_... as a service's is. Rules that
    our services have and should not have are taken away; those of others are left alone.
    """
    from holdfast.bus.kafka.acls import apply as apply_rules
    from holdfast.bus.kafka.acls import rules
    from holdfast.runtime.principals import kafka_access

    if not apply:
        for rule in rules(kafka_access()):
            say(rule.command())
        return
    from holdfast.bus.kafka.bus import KafkaBus
    from holdfast.bus.kafka.settings import KafkaSettings
    from holdfast.bus.port import BusUnavailable
    from holdfast.contracts.topics import all_topics
    from holdfast.runtime.bus import topic_retention_ms
    from holdfast.runtime.settings import KafkaAccessSettings, RetentionSettings, load

    if not bootstrap:
        fail(ExitCode.USAGE, "--apply needs --bootstrap HOST:PORT,...")
    retention_ms = topic_retention_ms(load(RetentionSettings))
    options = load(KafkaAccessSettings).kafka_options()
    settings = KafkaSettings(bootstrap, retention_ms=retention_ms, options=options)
    bus = KafkaBus(settings)
    try:
        bus.create_topics(all_topics(), partitions)
        came, went = apply_rules(settings, kafka_access())
    except ValueError as error:
        fail(ExitCode.CONFLICT, str(error))
    except BusUnavailable as error:
        fail(ExitCode.UNAVAILABLE, str(error))
    finally:
        bus.close()
    note(f"{len(all_topics())} topics are there; {came} rules were added, {went} taken away")


@app.command()
def groups(data: Data = DATA_DEFAULT, as_json: Json = False) -> None:
    """List consumer groups: living members, messages not read, and messages held only for this group."""
    found = _ask(data, lambda bus: bus.groups(), as_owner=False)
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
    """Forget a group without members, so that it holds no messages back. A service's own is refused."""
    from holdfast.contracts.card_numbers import holds_card_number
    from holdfast.contracts.topics import SERVICES

    if group in SERVICES:
        fail(ExitCode.CONFLICT, f"{group} is a service's own group: what it has not read must stay")
    if holds_card_number(reason):
        fail(ExitCode.USAGE, "--reason holds what looks like a card number, and it is kept")
    if not yes and not ask(f"Forget {group}? Messages that only it has not read will be deleted."):
        fail(ExitCode.FAILED, "nothing was done")
    forgotten = _ask(data, lambda bus: bus.forget_group(group, operator_name(), reason), as_owner=True)
    if forgotten is None:
        fail(ExitCode.NOT_FOUND, f"there is no group {group}")
    if not forgotten:
        fail(ExitCode.CONFLICT, f"{group} has living members: stop them first")
    note(f"{group} is forgotten")


def _ask(data: Path, question: Callable[["PostgresBus"], T], *, as_owner: bool) -> T:
    """Ask the platform's bus; ends the command if there is none of this kind, or no answer."""
    from holdfast.bus.port import BusUnavailable
    from holdfast.bus.postgres.bus import PostgresBus
    from holdfast.local.info import find
    from holdfast.local.layout import NotRunning

    try:
        info = find(data)
    except NotRunning as error:
        fail(ExitCode.NOT_FOUND, str(error))
    dsn = info.bus.owner_dsn if as_owner else info.bus.dsn
    if dsn is None:
        fail(ExitCode.CONFLICT, "the bus is Kafka: see kafka-consumer-groups --describe --all-groups")
    bus = PostgresBus(dsn)
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
