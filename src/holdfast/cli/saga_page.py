"""Renders sagas for an operator: a list, and the page of one saga, from its situation to each event.

It renders the orchestrator's answers (`services/checkout_orchestrator/saga_views.py`) and sends no request.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from holdfast.contracts.steps import STEPS, owed_by_steps

SagaJson = Mapping[str, Any]

_ENDED = ("COMPLETED", "FAILED")
_PIVOT = next(row.messages.do for row in STEPS if not row.undo)
_UNITS = (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1))
_DECIMALS = {
    "JPY": 0,
    "KRW": 0,
    "VND": 0,
    "CLP": 0,
    "ISK": 0,
    "BHD": 3,
    "JOD": 3,
    "KWD": 3,
    "OMR": 3,
    "TND": 3,
}
"""Currencies whose minor unit is not a hundredth (ISO 4217)."""


def table_of(sagas: Sequence[SagaJson], now_ms: int) -> Table:
    """Make the list; what an operator should look at is red."""
    table = Table(box=None, pad_edge=False)
    for name in ("saga", "state", "age", "reason", "owed", "stalled for"):
        table.add_column(name, no_wrap=name in ("saga", "age"))
    for saga in sagas:
        stalled = lasting(now_ms - saga["stalled_since_ms"]) if saga["stalled_since_ms"] else ""
        table.add_row(
            saga["saga_id"],
            Text(saga["state"], style=_style(saga)),
            lasting(now_ms - saga["started_ms"]),
            Text(saga["reason"]),
            Text(owed_in_words(saga["owed"])),
            Text(stalled, style="red"),
        )
    table.caption = f"{len(sagas):,} sagas" if sagas else "no saga is like that"
    table.caption_justify = "left"
    return table


def page_of(found: SagaJson) -> Group:
    """Make the page of one saga."""
    saga, now_ms = found["saga"], found["now_ms"]
    head = Text.assemble((saga["saga_id"], "bold"), "  ", (saga["state"], _style(saga)))
    parts: list[Any] = [head, *(Text(line) for line in situation(found))]
    parts += [Text(), Text("What happened", style="bold"), _history(found["history"], saga["started_ms"])]
    if found["awaited"]:
        parts += [Text(), Text("Awaited", style="bold"), _awaited(found["awaited"], now_ms)]
    if found["ignored"]:
        parts += [Text(), Text("Ignored", style="bold"), _ignored(found["ignored"], now_ms)]
    if found["actions"]:
        parts += [Text(), Text("By hand", style="bold"), _actions(found["actions"], now_ms)]
    return Group(*parts)


def situation(found: SagaJson) -> list[str]:
    """Say in a few lines what the state is, what is at stake, and what an operator can do."""
    saga, now_ms = found["saga"], found["now_ms"]
    began = f"began {lasting(now_ms - saga['started_ms'])} ago"
    lines = []
    checkout = found["checkout"]
    if checkout is None:
        lines.append(f"Cancelled before it was heard of; {began}.")
    else:
        money = amount(checkout["total_minor"], checkout["currency"])
        lines.append(
            f"{checkout['user_id']} buys {checkout['pieces']:,} pieces of cart {checkout['cart_id']}"
            f" for {money}; {began}."
        )
    if saga["reason"]:
        detail = f" ({found['detail']})" if found["detail"] else ""
        lines.append(f"Undone because: {saga['reason']}{detail}.")
    if saga["state"] in _ENDED:
        lines.append(f"It ended {lasting(now_ms - saga['ended_ms'])} ago, {_took(saga)} after it began.")
        return lines
    if saga["owed"]["steps"]:
        lines.append(f"Still owed: {owed_in_words(saga['owed'])}.")
    if saga["stalled_since_ms"]:
        lines.append(
            f"STALLED for {lasting(now_ms - saga['stalled_since_ms'])}: it ends by itself when"
            f" {_who(saga['owed']['steps'])} answers again; `holdfast saga resume` asks at once."
        )
    lines += [_waiting(each, now_ms) for each in found["awaited"]]
    if not found["awaited"]:
        lines.append("NOTHING IS AWAITED although it has not ended: `holdfast saga resume` mends that.")
    if any(each["command"] == _PIVOT for each in found["awaited"]):
        lines.append("The pivot was sent: it cannot be cancelled any more, only asked for until it answers.")
    elif not saga["owed"]["steps"]:
        lines.append("It can still be cancelled: `holdfast saga cancel`.")
    return lines


def owed_in_words(owed: SagaJson) -> str:
    """Say what is owed: money to refund, pieces to release, an order to cancel."""
    money = amount(owed["amount_minor"], owed["currency"])
    pieces = f"{sum(owed['pieces'].values()):,}"
    return ", ".join(each.words.format(amount=money, pieces=pieces) for each in owed_by_steps(owed["steps"]))


def amount(minor: int, currency: str) -> str:
    """Format an amount of money for people."""
    decimals = _DECIMALS.get(currency, 2)
    return f"{minor / 10**decimals:,.{decimals}f} {currency}"


def lasting(ms: int) -> str:
    """Format a duration in its two largest units; a negative one counts as zero."""
    seconds = max(0, ms) // 1000
    if seconds < 1:
        return f"{max(0, ms)} ms"
    for unit, size, rest_unit, rest_size in _UNITS:
        if seconds >= size:
            rest = seconds % size // rest_size
            return f"{seconds // size} {unit} {rest} {rest_unit}" if rest else f"{seconds // size} {unit}"
    return f"{seconds} s"


def _style(saga: SagaJson) -> str:
    if saga["stalled_since_ms"]:
        return "bold red"
    return {"COMPLETED": "green", "FAILED": "dim", "COMPENSATING": "yellow"}.get(saga["state"], "cyan")


def _took(saga: SagaJson) -> str:
    return lasting(saga["ended_ms"] - saga["started_ms"])


def _who(steps: Sequence[str]) -> str:
    return " and ".join(steps)


def _waiting(each: SagaJson, now_ms: int) -> str:
    again = f"sent again {_times(each['fired'])}" if each["fired"] else "sent once"
    return f"Waits for the answer to {each['command']} ({again}); next {_when(each['due_ms'], now_ms)}."


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _when(at_ms: int, now_ms: int) -> str:
    return f"in {lasting(at_ms - now_ms)}" if at_ms > now_ms else f"due {lasting(now_ms - at_ms)} ago"


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _history(events: Sequence[SagaJson], started_ms: int) -> Table:
    table = _table("after", "event", "leads to", "sends")
    for event in events:
        kind = "(silence)" if event["kind"] == "DeadlinePassed" else event["kind"]
        path, sent = " > ".join(event["path"]), ", ".join(event["sent"])
        table.add_row(f"+{lasting(event['at_ms'] - started_ms)}", kind, path, sent)
    return table


def _awaited(deadlines: Sequence[SagaJson], now_ms: int) -> Table:
    table = _table("step", "command", "sent again", "next")
    for each in deadlines:
        table.add_row(each["step"], each["command"], _times(each["fired"]), _when(each["due_ms"], now_ms))
    return table


def _ignored(events: Sequence[SagaJson], now_ms: int) -> Table:
    table = _table("event", "why", "times", "last")
    for event in events:
        ago = f"{lasting(now_ms - event['last_ms'])} ago"
        table.add_row(Text(event["kind"]), event["reason"], f"{event['times']}", ago)
    return table


def _actions(actions: Sequence[SagaJson], now_ms: int) -> Table:
    table = _table("when", "who", "what", "why")
    for each in actions:
        ago = f"{lasting(now_ms - each['at_ms'])} ago"
        table.add_row(ago, Text(each["operator"]), each["action"], Text(each["reason"]))
    return table
