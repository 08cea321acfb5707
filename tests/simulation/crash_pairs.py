"""Simulated worlds in which processes end at crash points, one after the other, on the way of one saga.

The code that ends is the production code, at the very calls of `crashpoint` that kill a real process.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from holdfast.contracts.topics import GATEWAY, INVENTORY, ORCHESTRATOR
from holdfast.messaging.crashpoints import CRASHPOINTS, attended
from holdfast.sagas.checkout import CHECKOUT
from holdfast.simulation.books import InvariantViolation, InvariantWatch, is_quiet, settled
from holdfast.simulation.faults import Crash
from holdfast.simulation.run import fair_turns, quiet_logs
from holdfast.simulation.setup import CheckoutSpec, Setup
from holdfast.simulation.world import Action, World

ROUNDS_MAX = 400
SHOPPERS = 3


class CrashSite(NamedTuple):
    """A crash point in one of the services that reach it."""

    service: str
    point: str


SITES = [CrashSite(service, name) for name, site in CRASHPOINTS.items() for service in site.services]


@dataclass
class Visited:
    """What became of a world: which crashes happened, in order, and what was broken."""

    sagas: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    crashed: list[CrashSite] = field(default_factory=list)
    violations: list[InvariantViolation] = field(default_factory=list)


def visit(sites: list[CrashSite], *, held: bool) -> Visited:
    """Let processes crash at these crash points in this order, then run until everything has ended.

    If `held`, operators hold every cart: the last step refuses, and all that was done is undone.
    """
    with quiet_logs():
        return _Visit(held=held).run(sites)


class _Visit:
    def __init__(self, *, held: bool) -> None:
        self._held = held
        checkouts = tuple(CheckoutSpec(f"cart-{n}", (("A", 2), ("B", 1))) for n in range(SHOPPERS))
        self._world = World(Setup(checkouts))
        self._watch = InvariantWatch(self._world)
        self._seen = Visited()
        self._armed: CrashSite | None = None
        self._acting = ""
        self._shoppers = 0

    def run(self, sites: list[CrashSite]) -> Visited:
        with attended(self._pass):
            for site in sites:
                self._crash_at(site)
            self._run_until(lambda: is_quiet(self._world), "everything ends")
        seen, world = self._seen, self._world
        seen.violations += settled(world)
        seen.sagas = self._shoppers
        seen.ends = Counter(saga.state for saga in world.table(ORCHESTRATOR, "saga").values())
        return seen

    def _pass(self, point: str) -> None:
        site = CrashSite(self._acting, point)
        if site == self._armed:
            self._armed = None
            self._seen.crashed.append(site)
            raise Crash

    def _crash_at(self, site: CrashSite) -> None:
        self._armed = site
        if site.point.startswith("park."):
            self._world.act(Action("poison", f"{site.service}+json"))
        if not self._shoppers:
            self._begin()
        self._run_until(lambda: self._armed is None, f"{site} is reached")

    def _run_until(self, over: Callable[[], bool], what: str) -> None:
        """Run fair turns until `over`; if nothing moves, let time pass or let the next shopper come."""
        for _ in range(ROUNDS_MAX):
            armed, moved = self._armed, False
            for action in self._turns():
                moved |= self._act(action)
                if self._armed is not armed:
                    return
            if over():
                return
            if moved:
                continue
            if armed and self._shoppers < SHOPPERS and self._all_ended():
                self._begin()
            else:
                self._act(Action("tick", str(self._world.next_moment_ms() - self._world.now_ms)))
        raise AssertionError(f"not within {ROUNDS_MAX} rounds: {what}")

    def _all_ended(self) -> bool:
        sagas = self._world.table(ORCHESTRATOR, "saga")
        return all(
            s in sagas and sagas[s].state in CHECKOUT.terminal for s in self._world.shoppers.checkouts()
        )

    def _turns(self) -> list[Action]:
        """List fair turns; to make a deadline fire, inventory-write does not answer the orchestrator."""
        waiting = self._armed is not None and self._armed.point.startswith("timers.")
        return [turn for turn in fair_turns(self._world) if not (waiting and turn.who.startswith(INVENTORY))]

    def _act(self, action: Action) -> bool:
        self._acting = (
            self._world.processes[action.who].service if action.who in self._world.processes else ""
        )
        done = self._world.act(action)
        self._seen.violations += self._watch.look()
        return done

    def _begin(self) -> None:
        """Let the next shopper ask until there is an answer, also if processes crash meanwhile."""
        number, self._shoppers = self._shoppers, self._shoppers + 1
        while number not in self._world.shoppers.accepted:
            self._acting = GATEWAY
            self._world.act(Action("start", str(number)))
        if self._held:
            self._world.act(Action("hold", str(number)))
