"""`holdfast crashpoints`: the points at which HOLDFAST_CRASH_AT can end a process (messaging.crashpoints)."""

from holdfast.cli.common import Json
from holdfast.cli.terminal import console, say_json


def crashpoints(as_json: Json = False) -> None:
    """List the crash points: HOLDFAST_CRASH_AT=NAME[:n] kills a service at its n-th visit."""
    from rich.table import Table

    from holdfast.contracts.topics import SERVICES
    from holdfast.messaging.crashpoints import CRASHPOINTS

    if as_json:
        say_json({name: point._asdict() for name, point in CRASHPOINTS.items()})
        return
    table = Table("name", "between", "services", box=None)
    for name, point in CRASHPOINTS.items():
        services = "all" if point.services == SERVICES else ", ".join(point.services)
        table.add_row(name, point.text, services)
    console().print(table)
