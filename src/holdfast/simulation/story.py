"""A failing run told to people: the command that repeats it, a sequence diagram, a test ready to be kept."""

from holdfast.contracts.topics import SERVICES
from holdfast.simulation.run import Outcome
from holdfast.simulation.world import Action, Told

ARROWS_MAX = 120


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


def diagram(outcome: Outcome) -> str:
    """Draw a run as a Mermaid sequence diagram: messages as arrows, faults as notes."""
    accepted = outcome.world.door.checkouts()
    names = {saga_id: f"saga {number}" for number, saga_id in enumerate(accepted, start=1)}
    lines = ["sequenceDiagram"]
    lines += [f"    participant {service}" for service in SERVICES]
    arrows = [line for told in outcome.world.told for line in _line(told, names)]
    lines += arrows[:ARROWS_MAX]
    if len(arrows) > ARROWS_MAX:
        lines.append(f"    Note over {SERVICES[-1]}: and {len(arrows) - ARROWS_MAX} more")
    lines += [f"    Note over {SERVICES[-1]}: {_plain(str(v), names)}" for v in outcome.violations[:3]]
    return "\n".join(lines)


def _line(told: Told, names: dict[str, str]) -> list[str]:
    who = _service(told.who)
    if told.to:
        arrow = {"lose": "--x", "delay": "-)"}.get(told.fate, "->>")
        fate = f" ({told.fate})" if told.fate else ""
        sender = who or SERVICES[-1]
        return [f"    {sender}{arrow}{_service(told.to) or sender}: {_plain(told.what, names)}{fate}"]
    if told.fate:
        return [f"    Note over {who or SERVICES[-1]}: {told.what}, {told.fate}"]
    if told.what in ("tick", "rewind", "clock", "hold", "cancel", "add", "land", "crash", "poison", "bug"):
        return [f"    Note over {who or SERVICES[-1]}: {told.what} {told.who}"]
    return []


def _service(name: str) -> str:
    return next((service for service in SERVICES if name.startswith(service)), "")


def _plain(text: str, names: dict[str, str]) -> str:
    for saga_id, name in names.items():
        text = text.replace(saga_id, name)
    return text.replace(":", " ").replace(";", ",").replace("\n", " ")


def regression_test(outcome: Outcome, name: str) -> str:
    """Write a module with a test that replays a shrunk run and expects sound books."""
    schedule = schedule_text(outcome.schedule).replace("\n", "\n        ")
    return f'''from holdfast.simulation.run import replay
from holdfast.simulation.setup import Setup, Wish
from holdfast.simulation.story import parse


def test_{name}() -> None:
    setup = {outcome.setup!r}
    schedule = parse("""
        {schedule}
    """)
    assert replay(setup, schedule).violations == []
'''
