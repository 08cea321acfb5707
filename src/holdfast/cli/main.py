"""The `holdfast` command: the list of its commands. Each imports the folder that it needs when it runs."""

import sys
import traceback
from types import TracebackType

import typer

from holdfast.cli import (
    audit,
    bus,
    cart,
    crashpoints,
    dlq,
    payment,
    platform,
    replay,
    run,
    saga,
    serve,
    simulate,
    token,
)
from holdfast.cli.terminal import note

app = typer.Typer(
    name="holdfast",
    help="The checkout of a community platform that loses nothing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("up")(platform.up)
app.command("status")(platform.status)
app.command("down")(platform.down)
app.command("replay")(replay.replay)
app.command("run")(run.run)
app.command("audit")(audit.audit)
app.command("simulate")(simulate.simulate)
app.add_typer(bus.app, name="bus")
app.add_typer(cart.app, name="cart")
app.add_typer(payment.app, name="payment")
app.add_typer(saga.app, name="saga")
app.add_typer(dlq.app, name="dlq")
app.command("token")(token.token)
app.command("serve")(serve.serve)
app.command("crashpoints")(crashpoints.crashpoints)


def main() -> None:
    sys.excepthook = _died
    app()


def _died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a bug of ours through the terminal: its text may repeat unsafe input."""
    note("".join(traceback.format_exception(kind, error, trace)).rstrip())


if __name__ == "__main__":
    main()
