"""`holdfast cart hold | release`: an operator stops a cart from being bought, or lets it go again."""

from typing import Annotated

import typer

from holdfast.cli.common import DATA_DEFAULT, Data
from holdfast.cli.terminal import say

CartId = Annotated[str, typer.Argument(metavar="CART", help="The cart's id.")]
User = Annotated[
    str, typer.Option("--user", metavar="USER", help="Whose; needed if several users have one of this id.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the audit log.")]

app = typer.Typer(help="Hold a cart, or release it.", no_args_is_help=True)


@app.command()
def hold(cart_id: CartId, reason: Reason, user: User = "", data: Data = DATA_DEFAULT) -> None:
    """Put a cart on hold: a checkout that reaches its clearing is undone and refunded."""
    owner = _act(cart_id, "hold", reason, user, data)
    say(f"{cart_id} of {owner} is on hold")


@app.command()
def release(cart_id: CartId, reason: Reason, user: User = "", data: Data = DATA_DEFAULT) -> None:
    """Let a held cart be bought again."""
    owner = _act(cart_id, "release", reason, user, data)
    say(f"{cart_id} of {owner} is free")


def _act(cart_id: str, verb: str, reason: str, user: str, data: Data) -> str:
    """Send the action to cart-crud, and return the cart's owner."""
    from urllib.parse import quote

    from holdfast.cli.operator import Operator
    from holdfast.contracts.topics import CART

    body = {"reason": reason} | ({"user_id": user} if user else {})
    done = Operator(data).post(CART, f"/v1/carts/{quote(cart_id, safe='')}/{verb}", body)
    return str(done["user_id"])
