"""The definition of a saga: steps in order, each with its class. What each event does follows from them.

A definition whose classes are out of order is refused when it is created, so before any saga uses it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from holdfast.saga.state import Decision, Event, SagaInstance


class StepClass(StrEnum):
    """Compensatable before the pivot, retriable after it (Garcia-Molina & Salem; Richardson)."""

    COMPENSATABLE = "compensatable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"


class InvalidDefinition(Exception):
    """The table of steps breaks a rule; the text names the step and the rule."""


@dataclass(frozen=True)
class Step:
    """One step: its messages, the state while its answer is awaited (`pending`), and the one once it is done.

    `command` builds the payload of the do command from the saga; it must be pure.
    """

    name: str
    step_class: StepClass
    pending: str
    finished: str
    do: str
    done: str
    command: Callable[[SagaInstance], Any]
    failed: str | None = None
    undo: str | None = None
    undone: str | None = None
    confirm: str | None = None
    keeps_result: bool = False


Reaction = Callable[[Any], Decision]
"""A function of a `saga.machine.Transition`, which makes one of its moves."""


def _no_contradiction(_saga: SagaInstance, _event: Event) -> str:
    return ""  # a named function, because definitions are pickled for other processes


@dataclass(frozen=True)
class SagaDefinition:
    """A saga definition, checked when it is created; raises InvalidDefinition.

    `reactions` holds functions of their own for some events; the others do what follows from the steps.
    `completed` and `failed` build the final events' payloads from the ended saga; `refusal` returns reason
    and detail of a refusal; `empty_payload` is that of undos and confirms. `contradiction` returns how an
    event of an existing saga differs from what was asked; empty if it does not. `reaction_names` are the
    seed's: `handle_payment_failed` is the reaction to `PaymentFailed`.
    """

    name: str
    version: int
    started_by: str
    initial: str
    compensating: str
    failed_state: str
    steps: tuple[Step, ...]
    completed_event: str
    completed: Callable[[SagaInstance], Any]
    failed_event: str
    failed: Callable[[SagaInstance], Any]
    refusal: Callable[[Event], tuple[str, str]]
    empty_payload: Any
    reactions: Mapping[str, Reaction] = field(default_factory=dict)
    outcome_requested: str = "OutcomeRequested"
    contradiction: Callable[[SagaInstance, Event], str] = _no_contradiction
    answered_step: Mapping[str, Step] = field(init=False, repr=False)
    reaction_names: Mapping[str, str] = field(init=False, repr=False)
    step_named: Mapping[str, Step] = field(init=False, repr=False)
    pending_index: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        answers = {kind: s for s in self.steps for kind in (s.done, s.failed, s.undone) if kind is not None}
        object.__setattr__(self, "answered_step", answers)
        names = {kind: f"handle_{_WORD.sub('_', kind).lower()}" for kind in self.event_kinds}
        object.__setattr__(self, "reaction_names", names)
        check(self)
        object.__setattr__(self, "step_named", {step.name: step for step in self.steps})
        object.__setattr__(self, "pending_index", {step.pending: i for i, step in enumerate(self.steps)})

    @property
    def event_kinds(self) -> tuple[str, ...]:
        """The types of all events that it reads, in the order of the table; no outcome requests."""
        return (self.started_by, *self.answered_step)

    @property
    def completed_state(self) -> str:
        """The state after the last step."""
        return self.steps[-1].finished

    @property
    def terminal(self) -> frozenset[str]:
        """The two final states."""
        return frozenset({self.completed_state, self.failed_state})

    @property
    def compensatable(self) -> tuple[Step, ...]:
        """The steps that can be undone, in the order of the table."""
        return tuple(s for s in self.steps if s.step_class is StepClass.COMPENSATABLE)


_WORD = re.compile(r"(?<!^)(?=[A-Z])")


def check(saga: SagaDefinition) -> None:
    """Raise InvalidDefinition if classes are out of order, messages are missing, or a name occurs twice."""
    if not saga.steps:
        raise InvalidDefinition(f"{saga.name}: a saga needs at least one step")
    order = [StepClass.COMPENSATABLE, StepClass.PIVOT, StepClass.RETRIABLE]
    ranks = [order.index(step.step_class) for step in saga.steps]
    if ranks != sorted(ranks):
        raise InvalidDefinition(f"{saga.name}: steps must be compensatable, then the pivot, then retriable")
    if ranks.count(1) > 1:
        raise InvalidDefinition(f"{saga.name}: there can be only one pivot")
    for kind in saga.reactions:
        if kind not in saga.event_kinds:
            raise InvalidDefinition(f"{saga.name}: a reaction to {kind}, which none of its steps answers")
    for step in saga.steps:
        _check_step(saga, step)
    states = [saga.initial, saga.compensating, saga.failed_state]
    states += [state for step in saga.steps for state in (step.pending, step.finished)]
    _check_unique(saga, "state", states)
    _check_unique(saga, "step", [step.name for step in saga.steps])
    kinds = [k for s in saga.steps for k in (s.do, s.done, s.failed, s.undo, s.undone, s.confirm) if k]
    ends = [saga.started_by, saga.completed_event, saga.failed_event, saga.outcome_requested]
    _check_unique(saga, "message", [*kinds, *ends])


def _check_step(saga: SagaDefinition, step: Step) -> None:
    if not step.name.isidentifier():
        raise InvalidDefinition(f"{saga.name}: {step.name!r} is no name; it goes into message ids")
    undoable = step.step_class is StepClass.COMPENSATABLE
    if {kind is not None for kind in (step.undo, step.undone, step.confirm)} != {undoable}:
        raise InvalidDefinition(
            f"{saga.name}.{step.name}: compensatable steps have undo, undone and confirm, others none of them"
        )
    if step.step_class is StepClass.RETRIABLE and step.failed is not None:
        raise InvalidDefinition(f"{saga.name}.{step.name}: a retriable step cannot be refused")


def _check_unique(saga: SagaDefinition, what: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InvalidDefinition(f"{saga.name}: {what} named twice: {', '.join(repeated)}")
