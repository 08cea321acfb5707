"""Any definition is searched as the checkout is: every order, every fault; a wrong one is found."""

from dataclasses import replace

import pytest
from tests.simulation.mutants import MUTANTS

from holdfast.saga.definition import Reaction, SagaDefinition
from holdfast.saga.machine import Transition
from holdfast.saga.state import Decision
from holdfast.sagas.checkout import CHECKOUT
from holdfast.sagas.return_order import RETURN_ORDER
from holdfast.simulation.examples import EXAMPLES
from holdfast.simulation.proof.definition_model import Part, parts
from holdfast.simulation.proof.prove import Job, search


@pytest.mark.parametrize(
    ("definition", "faults"), [(RETURN_ORDER, 2), (CHECKOUT, 1)], ids=["return_order", "checkout"]
)
def test_every_way_of_a_saga_ends_whole(definition: SagaDefinition, faults: int) -> None:
    reports = [search(Job(part, faults)) for part in parts(definition, EXAMPLES)]
    assert [(r.scope, finding) for r in reports for finding in r.findings] == []
    assert len(reports) == 1 + sum(step.failed is not None for step in definition.steps)
    assert all(r.ends for r in reports)


def test_two_returns_at_once_end_whole() -> None:
    report = search(Job(Part(RETURN_ORDER, EXAMPLES, sagas=2), 1))
    assert report.findings == []
    assert report.states > 5_000


def deaf(turn: Transition) -> Decision:
    return Decision(ignored="not_awaited")


def hasty(turn: Transition) -> Decision:
    """Treat the refund's refusal as done."""
    return turn.step_done("refund")


def forgetful(turn: Transition) -> Decision:
    """End the compensation without the undo's answer."""
    if turn.saga is not None:
        turn.saga = turn.saga._replace(failed=(*turn.saga.failed, "order"))
    return turn.step_failed("refund")


def wrong(kind: str, reaction: Reaction) -> SagaDefinition:
    return replace(RETURN_ORDER, reactions={kind: reaction})


WRONG = wrong("RefundFailed", forgetful)


@pytest.mark.parametrize(
    ("kind", "reaction", "refuses", "found"),
    [
        ("OrderReinstated", deaf, "refund", "I11"),
        ("RefundFailed", hasty, "refund", "exception"),
        ("RefundFailed", forgetful, "refund", "I12"),
    ],
)
def test_a_wrong_reaction_is_found(kind: str, reaction: Reaction, refuses: str, found: str) -> None:
    report = search(Job(Part(wrong(kind, reaction), EXAMPLES, refuses), 1))
    assert [f.what[: len(found)] for f in report.findings] == [found]


def test_a_step_that_lets_go_is_not_taken_before_what_others_do() -> None:
    """A saga that ends at the first undo answered is found while the other undos are still on their way."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "the_first_undo_answered_ends_the_saga")
    with mutant.broken():
        (found,) = search(Job(Part(CHECKOUT, EXAMPLES, "cart"), 0)).findings
    assert found.what.startswith("I12")
