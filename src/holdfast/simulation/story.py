"""A failing run for people: the command that repeats it, a sequence diagram, and a regression test."""

from collections.abc import Mapping, Sequence

from holdfast.contracts.topics import SERVICES
from holdfast.simulation.run import RunResult
from holdfast.simulation.world import Action, Observation

ARROWS_MAX = 120
ARROWS = {"lose": "--x", "delay": "-)"}
"""By what became of a message."""

NOTED = ("tick", "rewind", "clock", "hold", "cancel", "add", "land", "crash", "poison", "bug", "outage")
"""Actions that are not a round of a service's thread."""


def command(seed: int) -> str:
    """Return what to type to see this run again."""
    return f"holdfast simulate --seed {seed}"


def schedule_text(schedule: list[Action]) -> str:
    """Write a schedule, one action a line."""
    return "\n".join(" ".join(action).rstrip() for action in schedule)


def parse(text: str) -> list[Action]:
    """Read a schedule as `schedule_text` writes it."""
    lines = [line.strip() for line in text.splitlines()]
    return [_action(line) for line in lines if line]


def _action(line: str) -> Action:
    kind, _, rest = line.partition(" ")
    who, _, fault = rest.rpartition(" ") if ":" in rest else (rest, "", "")
    return Action(kind, who.strip(), fault)


def diagram(result: RunResult) -> str:
    """Draw a run as a Mermaid sequence diagram: messages as arrows, faults as notes."""
    accepted = result.world.shoppers.checkouts()
    names = {saga_id: f"saga {number}" for number, saga_id in enumerate(accepted, start=1)}
    lines = [line for observed in result.world.observed for line in _line(observed, names)]
    broken = [note(SERVICES[-1], plain(str(v), names)) for v in result.violations[:3]]
    return sequence_diagram(SERVICES, lines, broken)


def sequence_diagram(participants: Sequence[str], lines: list[str], broken: list[str]) -> str:
    """Write a Mermaid sequence diagram of what happened (at most `ARROWS_MAX` lines) and what broke."""
    drawn = [f"participant {name}" for name in participants] + lines[:ARROWS_MAX]
    if len(lines) > ARROWS_MAX:
        drawn.append(note(participants[-1], f"and {len(lines) - ARROWS_MAX} more"))
    return "\n    ".join(["sequenceDiagram", *drawn, *broken])


def arrow(sender: str, reader: str, what: str, outcome: str = "") -> str:
    """Draw a message; the arrow shows what became of it."""
    return f"{sender}{ARROWS.get(outcome, '->>')}{reader}: {what}{f' ({outcome})' if outcome else ''}"


def note(who: str, what: str) -> str:
    """Draw a note."""
    return f"Note over {who}: {what}"


def by_name(text: str, names: Mapping[str, str]) -> str:
    """Replace each saga id by its name."""
    for saga_id, name in names.items():
        text = text.replace(saga_id, name)
    return text


def plain(text: str, names: Mapping[str, str]) -> str:
    """Replace saga ids by names, and remove characters that Mermaid would misread."""
    return by_name(text, names).replace(":", " ").replace(";", ",").replace("\n", " ")


def _line(observed: Observation, names: dict[str, str]) -> list[str]:
    who = _service(observed.who) or SERVICES[-1]
    if observed.to:
        return [arrow(who, _service(observed.to) or who, plain(observed.what, names), observed.outcome)]
    if observed.outcome:
        return [note(who, f"{observed.what}, {observed.outcome}")]
    if observed.what in NOTED:
        return [note(who, f"{observed.what} {observed.who}")]
    return []


def _service(name: str) -> str:
    return next((service for service in SERVICES if name.startswith(service)), "")


def regression_test(result: RunResult, name: str) -> str:
    """Write a module with a test that replays a shrunk run and expects sound books."""
    schedule = schedule_text(result.schedule).replace("\n", "\n        ")
    return f'''from holdfast.simulation.run import replay
from holdfast.simulation.setup import CheckoutSpec, Setup
from holdfast.simulation.story import parse


def test_{name}() -> None:
    setup = {result.setup!r}
    schedule = parse("""
        {schedule}
    """)
    assert replay(setup, schedule).violations == []
'''
