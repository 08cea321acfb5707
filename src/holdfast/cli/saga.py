"""`holdfast saga list | show | resume | cancel`: shows sagas and what they wait for; acts on one.

`saga_page` has the texts of a saga's page.
"""

import re
from typing import Annotated, Any

import typer

from holdfast.cli.common import DATA_DEFAULT, Data, Json
from holdfast.cli.terminal import console, say, say_json

PAGE = 500
WIDTH_IN_PIPES = 160
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

SagaId = Annotated[str, typer.Argument(metavar="SAGA", help="The saga's id.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the log of actions.")]

app = typer.Typer(help="Look at sagas; resume or cancel one.", no_args_is_help=True)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,7})([smhd])", text)
    if found is None:
        raise typer.BadParameter("is a number and a unit, such as 90s, 10m, 2h or 1d")
    return int(found[1]) * _UNITS[found[2]]


@app.command("list")
def list_(
    state: Annotated[
        str, typer.Option(metavar="STATE,...", help="Only in these states; OPEN is all that have not ended.")
    ] = "",
    reason: Annotated[str, typer.Option(metavar="CODE", help="Only undone for this reason.")] = "",
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Only accepted before, such as 10m.")] = "",
    stalled: Annotated[bool, typer.Option("--stalled", help="Only those whose undo is overdue.")] = False,
    oldest: Annotated[bool, typer.Option("--oldest", help="Oldest first.")] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 50,
    as_json: Json = False,
    data: Data = DATA_DEFAULT,
) -> None:
    """List sagas, newest first."""
    import time

    params: dict[str, str | int] = {"order": "oldest" if oldest else "newest"}
    if state:
        params["state"] = state
    if reason:
        params["reason"] = reason
    if older_than:
        params["older_than_s"] = _seconds(older_than)
    if stalled:
        params["stalled"] = "true"
    sagas = _pages(data, params, limit)
    if as_json:
        say_json(sagas)
        return
    from holdfast.cli.saga_page import table_of

    console(width_in_pipes=WIDTH_IN_PIPES).print(table_of(sagas, int(time.time() * 1000)))


@app.command()
def show(saga_id: SagaId, as_json: Json = False, data: Data = DATA_DEFAULT) -> None:
    """Show a saga's state and history, what it waits for and what it owes."""
    found = _operator(data).get(_service(), f"/v1/sagas/{_in_path(saga_id)}")
    if as_json:
        say_json(found)
        return
    from holdfast.cli.saga_page import page_of

    console(width_in_pipes=WIDTH_IN_PIPES).print(page_of(found))


@app.command()
def resume(saga_id: SagaId, reason: Reason, as_json: Json = False, data: Data = DATA_DEFAULT) -> None:
    """Send again, at once, the commands whose answers a saga waits for."""
    _act(saga_id, "resume", reason, data, as_json)


@app.command()
def cancel(saga_id: SagaId, reason: Reason, as_json: Json = False, data: Data = DATA_DEFAULT) -> None:
    """Undo a saga, unless its cart is being cleared already: then it can only go forward (exit 4)."""
    _act(saga_id, "cancel", reason, data, as_json)


def _act(saga_id: str, verb: str, reason: str, data: Any, as_json: bool) -> None:
    path = f"/v1/sagas/{_in_path(saga_id)}/{verb}"
    done = _operator(data).post(_service(), path, {"reason": reason})
    if as_json:
        say_json(done)
    else:
        sent = ", ".join(done["sent"]) or "nothing: it was on its way back already"
        say(f"{done['saga_id']} is {done['state']}; sent {sent}")


def _pages(data: Any, params: dict[str, str | int], limit: int) -> list[dict[str, Any]]:
    """Read pages until there are enough; a page may be empty with more to come."""
    operator, sagas = _operator(data), list[dict[str, Any]]()
    after: str | None = ""
    while after is not None and len(sagas) < limit:
        query = {**params, "limit": min(PAGE, limit - len(sagas))}
        page = operator.get(_service(), "/v1/sagas", {**query, "after": after} if after else query)
        sagas += page["items"]
        after = page["next"]
    return sagas


def _operator(data: Any) -> Any:
    from holdfast.cli.operator import Operator

    return Operator(data)


def _service() -> str:
    from holdfast.contracts.topics import ORCHESTRATOR

    return ORCHESTRATOR


def _in_path(saga_id: str) -> str:
    from urllib.parse import quote

    return quote(saga_id.strip().lower(), safe="")
