"""`holdfast token`: makes tokens for development, signed with the key of a data folder."""

import re
from typing import Annotated

import typer

from holdfast.cli.common import DATA_DEFAULT, Data, ExitCode, fail
from holdfast.cli.terminal import say

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def token(
    user: Annotated[
        str, typer.Option("--user", metavar="NAME", help="Whose token: the shopper or operator.")
    ],
    operator: Annotated[
        bool, typer.Option("--operator", help="An operator's token instead of a shopper's.")
    ] = False,
    ttl: Annotated[
        str, typer.Option("--ttl", metavar="TIME", help="How long it is valid: 90s, 15m, 8h, 30d.")
    ] = "8h",
    data: Data = DATA_DEFAULT,
) -> None:
    """Print a bearer token for the platform on this data folder."""
    from holdfast.local.keys import Keys, NoKeys
    from holdfast.local.layout import DataFolder

    try:
        text = Keys(DataFolder(data).keys).token(user, operator=operator, ttl_s=_seconds(ttl))
    except NoKeys as error:
        fail(ExitCode.NOT_FOUND, str(error))
    say(text)


def _seconds(ttl: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", ttl)
    if match is None:
        raise typer.BadParameter(f"{ttl!r} is not a time like 90s, 15m, 8h or 30d", param_hint="--ttl")
    return int(match[1]) * _UNITS_S[match[2]]
