"""Delta debugging over schedules: a minimal part of a failing one that still breaks the same invariant.

Zeller & Hildebrandt, Simplifying and Isolating Failure-Inducing Input (2002): ddmin, then faults one by one.
"""

from collections.abc import Callable, Sequence

from holdfast.simulation.run import RunResult, replay
from holdfast.simulation.setup import Setup
from holdfast.simulation.world import Action

REPLAYS_MAX = 1_500


class Shrinker:
    """Shrinks within a budget of replays; `replays` says how many it took."""

    def __init__(self, setup: Setup, invariant: str) -> None:
        self._setup = setup
        self._invariant = invariant
        self.replays = 0

    def shrink(self, schedule: Sequence[Action]) -> list[Action]:
        """Return a part of the schedule that breaks the same invariant and needs each of its actions."""
        smaller = self._ddmin(list(schedule))
        for position, action in enumerate(smaller):
            if action.fault:
                calmer = [*smaller[:position], action._replace(fault=""), *smaller[position + 1 :]]
                if self._fails(calmer):
                    smaller = calmer
        return self._ddmin(smaller)

    def _fails(self, schedule: Sequence[Action]) -> bool:
        self.replays += 1
        if self.replays > REPLAYS_MAX:
            return False
        return any(v.invariant == self._invariant for v in replay(self._setup, schedule).violations)

    def _ddmin(self, schedule: list[Action]) -> list[Action]:
        parts = 2
        while len(schedule) >= 2:
            size = max(1, len(schedule) // parts)
            rest = _without_a_chunk(schedule, size, self._fails)
            if rest is not None:
                schedule, parts = rest, max(parts - 1, 2)
            elif size == 1:
                break
            else:
                parts = min(len(schedule), parts * 2)
        return schedule


def _without_a_chunk(
    schedule: list[Action], size: int, fails: Callable[[Sequence[Action]], bool]
) -> list[Action] | None:
    for start in range(0, len(schedule), size):
        rest = schedule[:start] + schedule[start + size :]
        if fails(rest):
            return rest
    return None


def shrink(failed: RunResult) -> RunResult:
    """Return a minimal run that breaks the invariant that `failed` broke first."""
    shrinker = Shrinker(failed.setup, failed.violations[0].invariant)
    return replay(failed.setup, shrinker.shrink(failed.schedule))
