"""`holdfast payment list | resolve`: shows unknown and owed payments, and records how they ended.

What a person says is checked at the provider by payment-gateway; here it is only asked and shown.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.common import DATA_DEFAULT, Data, Json
from holdfast.cli.terminal import console, say_json

if TYPE_CHECKING:
    from rich.table import Table

WIDTH_IN_PIPES = 240

SagaId = Annotated[str, typer.Argument(metavar="SAGA", help="The saga's id.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the audit log.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]

app = typer.Typer(help="Look at payments, resolve unknown ones.", no_args_is_help=True)


@app.command("list")
def list_(
    unknown: Annotated[bool, typer.Option("--unknown", help="Only those whose outcome is unknown.")] = False,
    owed: Annotated[bool, typer.Option("--owed", help="Only those whose money is owed.")] = False,
    saga: Annotated[str, typer.Option("--saga", metavar="SAGA", help="Only this saga's.")] = "",
    limit: Limit = 100,
    as_json: Json = False,
    data: Data = DATA_DEFAULT,
) -> None:
    """Show payments, oldest first."""
    from holdfast.cli.operator import Operator
    from holdfast.contracts.topics import PAYMENT

    chosen = {"unknown": "true"} if unknown else {"owed": "true"} if owed else {}
    if saga:
        chosen = {"saga_id": saga}
    items = Operator(data).get(PAYMENT, "/v1/payments", {"limit": limit, **chosen})["items"]
    _show(items, as_json=as_json)


@app.command()
def resolve(
    saga_id: SagaId,
    reason: Reason,
    charged: Annotated[
        str, typer.Option("--charged", metavar="CHARGE", help="It was charged: the provider's id of it.")
    ] = "",
    not_charged: Annotated[
        bool, typer.Option("--not-charged", help="It was not charged, and nothing can charge it any more.")
    ] = False,
    refunded: Annotated[
        bool, typer.Option("--refunded", help="It was refunded at the provider, by hand.")
    ] = False,
    as_json: Json = False,
    data: Data = DATA_DEFAULT,
) -> None:
    """Say what became of a payment; the provider is asked whether it is so."""
    from holdfast.cli.operator import Operator
    from holdfast.contracts.topics import PAYMENT

    said = [
        name
        for name, given in (("charged", charged), ("not_charged", not_charged), ("refunded", refunded))
        if given
    ]
    if len(said) != 1:
        raise typer.BadParameter("say exactly one of --charged, --not-charged, --refunded")
    body = {"outcome": said[0], "reason": reason, "charge_id": charged}
    row = Operator(data).post(PAYMENT, f"/v1/payments/{saga_id}/resolve", body)
    _show([row], as_json=as_json)


def _show(items: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        say_json(items, indent=2)
    else:
        console(width_in_pipes=WIDTH_IN_PIPES).print(table_of(items))


def table_of(items: Sequence[dict[str, Any]]) -> "Table":
    """Make the list; ids are never cut, because people copy them."""
    from rich.table import Table
    from rich.text import Text

    from holdfast.cli.saga_page import amount

    table = Table(box=None, pad_edge=False)
    for name in ("saga", "state", "amount", "charge", "refund", "attempts", "last error"):
        table.add_column(name, no_wrap=name in ("saga", "amount"), overflow="fold")
    for item in items:
        state = item["state"] + (" (undo requested)" if item["undo_requested"] else "")
        money = amount(item["amount_minor"], item["currency"])
        error = item["last_error"] or item["decline_code"]
        cells = (
            item["saga_id"],
            state,
            money,
            item["charge_id"],
            item["refund_id"],
            str(item["attempts"]),
            error,
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table
