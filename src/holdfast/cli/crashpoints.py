"""`holdfast crashpoints`: the places where HOLDFAST_CRASH_AT can end a process (messaging.crashpoints)."""

from holdfast.cli.common import Json
from holdfast.cli.terminal import console, say_json


def crashpoints(as_json: Json = False) -> None:
    """List where a service can be told to kill itself: HOLDFAST_CRASH_AT=NAME[:n], n the visit."""
    from rich.table import Table

    from holdfast.contracts.topics import SERVICES
    from holdfast.messaging.crashpoints import CRASHPOINTS

    if as_json:
        say_json({name: place._asdict() for name, place in CRASHPOINTS.items()})
        return
    table = Table("name", "between", "services", box=None)
    for name, place in CRASHPOINTS.items():
        services = "all" if place.services == SERVICES else ", ".join(place.services)
        table.add_row(name, place.text, services)
    console().print(table)
