"""One run: a chaotic phase of drawn actions and faults, then healing, fair scheduling, and the books.

A run is replayed from its seed alone, or from its setup and any part of its schedule.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from logging import CRITICAL
from random import Random

import structlog

from holdfast.contracts.topics import GATEWAY, INVENTORY
from holdfast.simulation.books import InvariantViolation, InvariantWatch, is_quiet, settled
from holdfast.simulation.faults import COUNTED, DELIVERY_FAULTS, IN_WORLD, OF_ACTION
from holdfast.simulation.poison import POISONS, UNDOABLE
from holdfast.simulation.provider import OUTAGES
from holdfast.simulation.setup import DEEP_EVERY, TICKS_MS, Setup, Swarm, draw_setup, draw_swarm
from holdfast.simulation.world import Action, World

HEAL_ROUNDS_MAX = 3_000
HEAL_MS_MAX = 2_700_000
CLOCK_JUMPS_MS = (-39_600_000, -30_000, 0, 30_000, 39_600_000)
"""Two of them are never further apart than a provider keeps a key: after that, a person is needed."""

GATEWAY_JUMPS_MS = (-1_200_000, -30_000, 0, 30_000, 1_200_000)
"""A saga's id holds the gateway's time: what asks by its age waits as long as that clock was ahead."""

STARTS_SHARE = 0.1
FAR_JUMP_MS = 8 * 86_400_000
"""Beyond the `not_after_ms` of every checkout."""


@dataclass
class RunResult:
    """The result of one run. `schedule` is what happened before healing began."""

    setup: Setup
    schedule: list[Action]
    world: World
    violations: list[InvariantViolation] = field(default_factory=list)

    def fingerprint(self) -> str:
        """Return a hash over everything that an observer would have seen."""
        seen = blake2b(digest_size=16)
        for observed in self.world.observed:
            seen.update("\x1f".join(observed).encode() + b"\n")
        return seen.hexdigest()


def run_seed(seed: int, *, to_the_end: bool = False) -> RunResult:
    """Run the world of one seed to its first violation; with `to_the_end`, to its end in any case."""
    rng = Random(seed)  # noqa: S311 - chance that repeats is the point
    deep = seed % DEEP_EVERY == 0
    world = World(draw_setup(rng, deep=deep))
    return _run(world, _drawn(world, draw_swarm(rng, deep=deep), rng), to_the_end=to_the_end)


def replay(setup: Setup, schedule: Sequence[Action]) -> RunResult:
    """Run these actions (a whole schedule or any part of one), then heal."""
    return _run(World(setup), iter(schedule))


def _run(world: World, actions: Iterator[Action], *, to_the_end: bool = False) -> RunResult:
    result = RunResult(world.setup, [], world)
    watch = InvariantWatch(world)

    def broken() -> bool:
        result.violations += [new for new in watch.look() if new not in result.violations]
        return bool(result.violations) and not to_the_end

    for action in actions:
        result.schedule.append(action)
        world.act(action)
        if broken():
            return result
    if _heal(world, broken):
        result.violations += settled(world)
    return result


def _heal(world: World, broken: Callable[[], bool]) -> bool:
    """Run without faults until nothing is left to do; return False if a violation ended the run."""
    heal_until_ms = world.now_ms + HEAL_MS_MAX
    world.provider.outage = None
    for service in world.skew_ms:
        world.skew_ms[service] = 0
    for _ in range(HEAL_ROUNDS_MAX):
        moved = False
        for action in fair_turns(world):
            moved |= world.act(action)
            if broken():
                return False
        if moved:
            continue
        if is_quiet(world) or world.now_ms > heal_until_ms:
            break
        world.act(Action("tick", str(world.next_moment_ms() - world.now_ms)))
    return True


def fair_turns(world: World) -> list[Action]:
    """List one action for each thing that can be done now."""
    turns = [Action("arrive", "0") for _ in world.network.delayed]
    turns += [Action("land", "0") for _ in world.provider.late]
    for name, process in world.processes.items():
        turns += [Action(kind, name) for kind in process.ready()]
    return turns


def _drawn(world: World, swarm: Swarm, rng: Random) -> Iterator[Action]:
    """Draw the next action from what could happen now."""
    checkouts = world.setup.checkouts
    for number in range(len(checkouts)):
        if number == 0 or rng.random() < 0.7:
            yield _with_fault(swarm, rng, "start", str(number))
    for _ in range(swarm.steps):
        chance = rng.random()
        if chance < swarm.world_rate:
            action = _of_the_world(world, swarm, rng)
            if action is not None:
                yield action
            continue
        if chance < swarm.world_rate + swarm.tick_rate:
            yield Action("tick", str(rng.choice(TICKS_MS)))
            continue
        drawn = _something(world, swarm, rng)
        if drawn is None:
            yield Action("tick", str(world.next_moment_ms() - world.now_ms))
        else:
            yield _with_fault(swarm, rng, *drawn)
    for number in range(2 * len(checkouts)):
        yield _with_fault(swarm, rng, "start", str(number))


def _something(world: World, swarm: Swarm, rng: Random) -> tuple[str, str] | None:
    """Draw the next action from all that would do something, as its kind and its subject."""
    names = [*world.processes, "arrive", "land", "start"]
    while names:
        name = names.pop(int(rng.random() * len(names)))
        process = world.processes.get(name)
        if process is not None:
            kinds = process.ready() if not process.stalled() or rng.random() < 0.02 else []
            if kinds:
                return kinds[int(rng.random() * len(kinds))], name
        elif name == "start":
            if rng.random() < STARTS_SHARE:
                return name, str(rng.randrange(2 * len(world.setup.checkouts)))
        elif rng.random() < swarm.arrive_rate and (
            world.network.delayed if name == "arrive" else world.provider.late
        ):
            return name, str(rng.randrange(9))
    return None


def _with_fault(swarm: Swarm, rng: Random, kind: str, who: str) -> Action:
    of_kind = OF_ACTION.get(kind, ())
    if rng.random() >= (swarm.call_rate if kind in ("call", "start") else swarm.fault_rate):
        if "lose" not in of_kind or rng.random() >= swarm.delivery_fault_rate:
            return Action(kind, who)
        of_kind = DELIVERY_FAULTS
    known = [name for name in of_kind if name in swarm.faults]
    if not known:
        return Action(kind, who)
    name = rng.choice(known)
    return Action(kind, who, f"{name}:{rng.choice((1, 1, 2, 3)) if name in COUNTED else 1}")


def _of_the_world(world: World, swarm: Swarm, rng: Random) -> Action | None:
    kinds = [kind for kind in IN_WORLD if kind in swarm.faults]
    if not kinds:
        return None
    kind = rng.choice(kinds)
    if kind in ("crash", "freeze"):
        return Action(kind, rng.choice(list(world.processes)))
    if kind in ("poison", "bug"):
        return Action(kind, rng.choice(POISONS if kind == "poison" else list(UNDOABLE)))
    if kind == "outage":
        return Action(kind, rng.choice(list(OUTAGES)))
    if kind == "rewind":
        return Action(kind, rng.choice(list(world.stores)))
    if kind == "clock":
        service = rng.choice(list(world.stores))
        jumps = {INVENTORY: (*CLOCK_JUMPS_MS, FAR_JUMP_MS), GATEWAY: GATEWAY_JUMPS_MS}
        return Action(kind, f"{service}+{rng.choice(jumps.get(service, CLOCK_JUMPS_MS))}")
    return Action(kind, str(rng.randrange(len(world.setup.checkouts))))


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Switch off the services' logs: a simulation would write too many."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
