"""A finding of the search has a diagram, a command that finds it again, and a test that repeats it."""

import shlex
from typing import Any

import pytest
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.test_definition_model import WRONG
from typer.testing import CliRunner

from holdfast.cli.main import app
from holdfast.simulation.examples import EXAMPLES
from holdfast.simulation.proof.checkout import ONE, CheckoutModel
from holdfast.simulation.proof.definition_model import Part
from holdfast.simulation.proof.prove import Job, search
from holdfast.simulation.proof.replay import Source
from holdfast.simulation.proof.report import Finding, named
from holdfast.simulation.proof.space import Space

LOST = "the_gateway_sends_once"
KEPT = (LOST, "the_first_undo_answered_ends_the_saga", "a_new_key_for_every_attempt_to_charge", "nobody_asks")


def found_by(mutant: Mutant) -> tuple[Job, Finding]:
    with mutant.broken():
        return next((job, f) for job in (Job(scope, 1) for scope in ONE) for f in search(job).findings)


def run(module: str) -> None:
    names: dict[str, Any] = {}
    exec(module, names)
    next(value for name, value in names.items() if name.startswith("test_"))()


@pytest.mark.parametrize(
    "mutant", [mutant for mutant in MUTANTS if mutant.name in KEPT], ids=lambda mutant: mutant.name
)
def test_the_regression_test_fails_with_the_bug_and_passes_without(mutant: Mutant) -> None:
    job, found = found_by(mutant)
    test = Source().regression_test(job, found)
    run(test)
    with mutant.broken(), pytest.raises(AssertionError):
        run(test)


def test_the_diagram_shows_what_was_sent_and_what_was_lost() -> None:
    _, found = found_by(next(mutant for mutant in MUTANTS if mutant.name == LOST))
    assert found.diagram.splitlines() == [
        "sequenceDiagram",
        *(f"    participant {name}" for name in ("gateway-bff", "checkout-orchestrator", "inventory-write")),
        *(f"    participant {name}" for name in ("payment-gateway", "order-create", "cart-crud")),
        "    Note over gateway-bff: publishes, message lost",
        "    gateway-bff--xcheckout-orchestrator: saga 1 initiated (lose)",
        "    Note over cart-crud: I11  from here nothing leads to an end",
    ]


def test_moves_of_one_name_are_told_apart() -> None:
    """Of messages that leave together any can be lost."""
    system = CheckoutModel(ONE[0])
    space, state = Space(system), system.start()
    for words in (
        "gateway-bff publishes",
        "checkout-orchestrator takes saga 1:initiated",
        "inventory-write takes saga 1:inventory:do",
        "checkout-orchestrator takes saga 1:inventory:done",
        "payment-gateway takes saga 1:payment:do",
        "payment-gateway claims",
        "payment-gateway calls the provider",
        "payment-gateway records",
        "checkout-orchestrator takes saga 1:payment:done",
        "order-create takes saga 1:order:do",
        "checkout-orchestrator takes saga 1:order:done",
        "cart-crud takes saga 1:cart:do",
    ):
        state = space.after(state, *dict(named(space, state))[words])
    lost = [words for words, search_move in named(space, state) if search_move.move.lost]
    move = "checkout-orchestrator takes saga 1:cart:done [message lost]"
    assert lost == [move, f"{move} #2", f"{move} #3", f"{move} #4"]


def test_the_command_finds_it_again_and_prints_a_test_to_keep() -> None:
    (found,) = search(Job(Part(WRONG, EXAMPLES, "refund"), 2)).findings
    source = Source("tests.simulation.test_definition_model:WRONG", "holdfast.simulation.examples:EXAMPLES")
    program, *words = shlex.split(source.command(Job(Part(WRONG, EXAMPLES, "refund"), 2), found))
    result = CliRunner().invoke(app, [*words, "--jobs", "1"])
    assert (program, result.exit_code) == ("holdfast", 1)
    assert found.what in result.output
    assert found.diagram in result.output
    with pytest.raises(AssertionError):
        run(result.output.partition("```\n\n")[2])


def test_only_a_world_that_exists_is_searched() -> None:
    result = CliRunner().invoke(app, ["simulate", "--exhaustive", "--only", "out of money"])
    assert result.exit_code == 2
    assert "'out of stock'" in result.output
