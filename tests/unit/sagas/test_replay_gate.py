"""The replay gate (I27): recorded histories meet the rules of today: a saga under way is treated as before.

Who changes what these histories went through gives the definition a new version, and keeps the old one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.platforms.record import committed

from holdfast.contracts.messages import CheckoutFailed, EmptyPayload, ProcessPayment
from holdfast.saga.definition import SagaDefinition
from holdfast.saga.diagram import NO_SAGA, Edge, edges
from holdfast.saga.machine import Transition
from holdfast.saga.state import DEADLINE_PASSED, DeadlinePassed, Decision
from holdfast.sagas.checkout import CHECKOUT, VERSIONS
from holdfast.sagas.histories import History, differences

HISTORIES = committed()


def test_the_rules_of_today_treat_every_recorded_saga_as_before() -> None:
    assert {history.version for history in HISTORIES} == set(VERSIONS), "record the new version"
    assert [found for history in HISTORIES if (found := differences(history, VERSIONS))] == []


def test_the_histories_walk_every_edge_of_the_diagram() -> None:
    walked = {edge for history in HISTORIES for edge in _edges(history)}
    assert set(edges(CHECKOUT)) - walked == set()


def test_the_histories_fire_every_deadline_and_send_every_command() -> None:
    fired = {
        msgspec.json.decode(event.payload, type=DeadlinePassed)
        for history in HISTORIES
        for event in history.events
        if event.kind == DEADLINE_PASSED
    }
    verbs = {(fire.step, fire.verb) for fire in fired}
    undoable = {(step.name, verb) for step in CHECKOUT.compensatable for verb in ("do", "undo")}
    assert verbs == undoable | {("cart", "do")}
    sent = {message.kind for history in HISTORIES for event in history.events for message in event.sent}
    commands = {kind for step in CHECKOUT.steps for kind in (step.do, step.undo, step.confirm) if kind}
    assert sent == commands | {CHECKOUT.completed_event, CHECKOUT.failed_event}


def _edges(history: History) -> list[Edge]:
    state, found = NO_SAGA, list[Edge]()
    for event in history.events:
        causes = [event.kind, *(message.kind for message in event.sent)]
        found += map(Edge, [state, *event.path], event.path, causes)
        state = event.path[-1] if event.path else state
    return found


def _step(of: str, **changes: Any) -> SagaDefinition:
    steps = tuple(replace(step, **changes) if step.name == of else step for step in CHECKOUT.steps)
    return replace(CHECKOUT, steps=steps)


def _pay_more(saga: Any) -> ProcessPayment:
    command: ProcessPayment = CHECKOUT.step_named["payment"].command(saga)
    return msgspec.structs.replace(command, amount_minor=command.amount_minor + 1)


def _forget_why(saga: Any) -> CheckoutFailed:
    return CheckoutFailed("failed", saga.version)


def _reaction(kind: str, move: Callable[[Transition], Decision]) -> SagaDefinition:
    return replace(CHECKOUT, reactions={**CHECKOUT.reactions, kind: move})


CHANGED = {
    "another_order_of_steps": replace(
        CHECKOUT, steps=(CHECKOUT.steps[1], CHECKOUT.steps[0], *CHECKOUT.steps[2:])
    ),
    "a_step_less": replace(CHECKOUT, steps=(CHECKOUT.steps[0], *CHECKOUT.steps[2:]), reactions={}),
    "another_payload": _step("payment", command=_pay_more),
    "another_name_of_a_state": _step("order", finished="ORDER_MADE"),
    "another_name_of_a_step": _step("inventory", name="stock"),
    "a_result_no_longer_kept": _step("inventory", keeps_result=True),
    "another_end": replace(CHECKOUT, failed=_forget_why),
    "another_payload_of_undos": replace(CHECKOUT, empty_payload=CheckoutFailed("undo", 1)),
    "a_refusal_that_is_taken_for_done": _reaction("PaymentFailed", lambda turn: turn.step_done("payment")),
    "an_answer_that_is_not_heard": _reaction("OrderCompensated", lambda turn: turn.step_undone("payment")),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_definition_is_caught(name: str) -> None:
    versions = {CHECKOUT.version: CHANGED[name]}
    assert any(_differences(history, versions) for history in HISTORIES)


@pytest.mark.parametrize("name", CHANGED)
def test_with_a_new_version_it_passes(name: str) -> None:
    changed = replace(CHANGED[name], version=CHECKOUT.version + 1)
    versions = VERSIONS | {changed.version: changed}
    assert not any(differences(history, versions) for history in HISTORIES)


def test_a_version_that_is_gone_is_caught() -> None:
    newer = {CHECKOUT.version + 1: replace(CHECKOUT, version=CHECKOUT.version + 1)}
    assert all("no rules" in differences(history, newer)[0] for history in HISTORIES)


def test_a_changed_engine_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undoing only what has answered would leave a charge whose answer was still on its way."""
    leave = Transition._start_compensating

    def answered_only(turn: Transition, saga: Any) -> Decision:
        step, _ = turn._awaited(saga)
        assert step is not None
        return leave(turn, saga._replace(failed=(*saga.failed, step.name)))

    monkeypatch.setattr(Transition, "_start_compensating", answered_only)
    assert any(differences(history, VERSIONS) for history in HISTORIES)


def test_equal_definitions_pass_whatever_their_nothing_is_called() -> None:
    same = replace(CHECKOUT, empty_payload=EmptyPayload())
    assert not any(differences(history, {CHECKOUT.version: same}) for history in HISTORIES)


def _differences(history: History, versions: dict[int, SagaDefinition]) -> list[str]:
    """A change may even break the walk: that is a difference, too."""
    try:
        return differences(history, versions)
    except (KeyError, AssertionError, AttributeError) as error:
        return [repr(error)]
