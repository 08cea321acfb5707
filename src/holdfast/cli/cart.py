"""`holdfast cart hold | release`: an operator stops a cart from being bought, or lets it go again."""

from typing import Annotated

import typer

from holdfast.cli.common import DATA_DEFAULT, Data
from holdfast.cli.terminal import say

CartId = Annotated[str, typer.Argument(metavar="CART", help="The cart's id.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the audit log.")]

app = typer.Typer(help="Hold a cart, or release it.", no_args_is_help=True)


@app.command()
def hold(cart_id: CartId, reason: Reason, data: Data = DATA_DEFAULT) -> None:
    """Put a cart on hold: a checkout that reaches its clearing is undone and refunded."""
    _act(cart_id, "hold", reason, data)
    say(f"{cart_id} is on hold")


@app.command()
def release(cart_id: CartId, reason: Reason, data: Data = DATA_DEFAULT) -> None:
    """Let a held cart be bought again."""
    _act(cart_id, "release", reason, data)
    say(f"{cart_id} is free")


def _act(cart_id: str, verb: str, reason: str, data: Data) -> None:
    from urllib.parse import quote

    from holdfast.cli.operator import Operator
    from holdfast.contracts.topics import CART

    Operator(data).post(CART, f"/v1/carts/{quote(cart_id, safe='')}/{verb}", {"reason": reason})
