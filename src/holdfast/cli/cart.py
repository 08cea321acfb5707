"""`holdfast cart hold | release`: an operator stops a cart from being bought, or lets it go again."""

import getpass
from typing import Annotated

import typer

from holdfast.cli.common import DATA_DEFAULT, Data, ExitCode, fail

CartId = Annotated[str, typer.Argument(metavar="CART", help="The cart's id.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the audit log.")]

app = typer.Typer(help="Hold a cart, or release it.", no_args_is_help=True)


@app.command()
def hold(cart_id: CartId, reason: Reason, data: Data = DATA_DEFAULT) -> None:
    """Put a cart on hold: a checkout that reaches its clearing is undone and refunded."""
    _act(cart_id, "hold", reason, data)
    typer.echo(f"{cart_id} is on hold")


@app.command()
def release(cart_id: CartId, reason: Reason, data: Data = DATA_DEFAULT) -> None:
    """Let a held cart be bought again."""
    _act(cart_id, "release", reason, data)
    typer.echo(f"{cart_id} is free")


def _act(cart_id: str, verb: str, reason: str, data: Data) -> None:
    from urllib.parse import quote

    import httpx2

    from holdfast.contracts.topics import CART
    from holdfast.local.info import find
    from holdfast.local.keys import Keys
    from holdfast.local.layout import NotRunning

    try:
        info = find(data)
    except NotRunning as error:
        fail(ExitCode.NOT_FOUND, str(error))
    token = Keys(info.folder.keys).token(getpass.getuser(), operator=True, ttl_s=60)
    url = f"{info.services[CART].url}/v1/carts/{quote(cart_id, safe='')}/{verb}"
    try:
        response = httpx2.post(
            url, json={"reason": reason}, headers={"Authorization": f"Bearer {token}"}, trust_env=False
        )
    except httpx2.HTTPError as error:
        fail(ExitCode.UNAVAILABLE, f"cart-crud does not answer: {type(error).__name__}")
    if response.status_code == 404:
        fail(ExitCode.NOT_FOUND, f"there is no cart {cart_id}")
    if response.status_code == 503:
        fail(ExitCode.UNAVAILABLE, "cart-crud cannot do it now; try again")
    if not response.is_success:
        problem = response.json()
        errors = "; ".join(f"{e['pointer']}: {e['detail']}" for e in problem.get("errors", []))
        code = ExitCode.USAGE if response.status_code == 422 else ExitCode.FAILED
        fail(code, errors or str(problem.get("detail")))
