"""`holdfast serve NAME`: runs one process of the platform, set up by its environment, as production does."""

from importlib import import_module
from typing import Annotated

import typer

from holdfast.cli.common import ExitCode, fail


def serve(name: Annotated[str, typer.Argument(help="A service's name, or payment-provider.")]) -> None:
    """Run one service in the foreground until SIGTERM; its settings are HOLDFAST_ variables."""
    from holdfast.contracts.topics import SERVICES

    modules = {each: f"holdfast.services.{each.replace('-', '_')}.main" for each in SERVICES}
    modules["payment-provider"] = "holdfast.payment_provider.main"
    if name not in modules:
        fail(ExitCode.USAGE, f"no service is called {name!r}; there are: {', '.join(sorted(modules))}")
    raise typer.Exit(import_module(modules[name]).main() or 0)
