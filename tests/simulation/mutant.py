"""Mutants: the protocol with one rule broken each, and the name of the invariant that must notice it.

A mutant lives only inside `broken()`; production has no switch for any of them.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

Broken = AbstractContextManager[Any]


@dataclass(frozen=True)
class Mutant:
    """`caught_by`: the invariant that must be violated."""

    name: str
    caught_by: str
    broken: Callable[[], Broken]


MUTANTS: list[Mutant] = []


def mutant(caught_by: str) -> Callable[[Callable[[], Broken]], Callable[[], Broken]]:
    """Register the mutant that a function makes."""

    def register(broken: Callable[[], Broken]) -> Callable[[], Broken]:
        MUTANTS.append(Mutant(broken.__name__, caught_by, broken))
        return broken

    return register


@contextmanager
def both(one: Broken, other: Broken) -> Any:
    """Break two things at once, if one alone would only raise."""
    with one, other:
        yield
