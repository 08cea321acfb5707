"""Stalling, asking and deadlines (protocol, lines 11, 12 and the pure part of 13)."""

import pytest
from tests.samples import SAGA
from tests.unit.saga.conversation import a_checkout, a_checkout_awaiting

from holdfast.saga.machine import decide
from holdfast.saga.state import DEADLINE_PASSED, DeadlinePassed, Decision, Event, Verb
from holdfast.sagas.checkout import CHECKOUT

UNDOS = ("CompensateOrder", "CompensatePayment", "CompensateInventory")


def test_line_11_a_stuck_undo_marks_the_saga_stalled_and_goes_on_being_sent() -> None:
    talk = a_checkout_awaiting("ORDER_CREATION_PENDING").given("OrderCreationFailed")
    talk.given_deadline("payment", Verb.UNDO).expect("CompensatePayment")
    assert talk.saga is not None
    assert talk.saga.stalled_ms == 0
    talk.given_deadline("payment", Verb.UNDO, overdue=True).expect("CompensatePayment")
    stalled_since = talk.now_ms
    talk.in_state("COMPENSATING", owed=("payment", "inventory"))
    talk.given_deadline("payment", Verb.UNDO, overdue=True).expect("CompensatePayment")
    assert talk.saga.stalled_ms == stalled_since
    talk.awaiting(("payment", Verb.UNDO), ("inventory", Verb.UNDO))


def test_line_11_the_other_undos_go_on_and_a_healed_participant_ends_it() -> None:
    talk = a_checkout_awaiting("ORDER_CREATION_PENDING").given("OrderCreationFailed")
    talk.given_deadline("payment", Verb.UNDO, overdue=True)
    talk.given("InventoryCompensated").expect().awaiting(("payment", Verb.UNDO))
    talk.given("PaymentCompensated").expect("CheckoutFailed").in_state("FAILED")
    assert talk.saga is not None
    assert talk.saga.stalled_ms == 0


def test_line_12_asking_a_completed_saga_brings_the_confirms() -> None:
    talk = a_checkout_awaiting("COMPLETED").given("OutcomeRequested")
    talk.expect("ConfirmInventory", "ConfirmPayment", "ConfirmOrder")
    talk.ignored("outcome_requested", recorded=False)


@pytest.mark.parametrize("ended", [False, True])
def test_line_12_asking_a_saga_on_its_way_back_or_failed_brings_all_three_undos(ended: bool) -> None:
    talk = a_checkout_awaiting("PAYMENT_PROCESSING_PENDING").given("PaymentFailed")
    if ended:
        talk.given("InventoryCompensated").in_state("FAILED")
    talk.given("OutcomeRequested").expect(*UNDOS).ignored("outcome_requested", recorded=False)


@pytest.mark.parametrize(
    "state",
    [
        "INVENTORY_RESERVATION_PENDING",
        "PAYMENT_PROCESSING_PENDING",
        "ORDER_CREATION_PENDING",
        "CART_CLEARANCE_PENDING",
    ],
)
def test_line_12_asking_a_saga_under_way_brings_nothing(state: str) -> None:
    talk = a_checkout_awaiting(state).given("OutcomeRequested")
    talk.expect().ignored("outcome_requested", recorded=False).in_state(state)


@pytest.mark.parametrize("end", ["CheckoutCompleted", "CheckoutFailed"])
def test_line_12_a_repeated_start_earns_the_final_event_again(end: str) -> None:
    talk = a_checkout_awaiting("CART_CLEARANCE_PENDING")
    talk.given("CheckoutInitiated").expect().ignored("repeated_start")
    if end == "CheckoutCompleted":
        talk.given("CartCleared")
    else:
        talk.given("CartClearanceFailed", "OrderCompensated", "PaymentCompensated", "InventoryCompensated")
    first = talk.said[-1]
    talk.given("CheckoutInitiated").expect(end).ignored("repeated_start")
    assert talk.said[-1] == first


@pytest.mark.parametrize("kind", sorted({*CHECKOUT.event_kinds, "OutcomeRequested"} - {"CheckoutInitiated"}))
def test_line_12_any_other_event_for_an_unknown_saga_is_parked(kind: str) -> None:
    talk = a_checkout().given(kind).parked("unknown_saga")
    assert talk.saga is None


@pytest.mark.parametrize("kind", ["CheckoutCompleted", "ReserveInventory", "Nonsense"])
def test_an_event_without_a_reaction_is_parked(kind: str) -> None:
    for saga in (None, a_checkout().given("CheckoutInitiated").saga):
        event = Event(SAGA, f"{SAGA}:x", kind, None)
        assert decide(CHECKOUT, saga, event, 1) == Decision(parked="unknown_event")


@pytest.mark.parametrize(
    ("state", "step", "command"),
    [
        ("INVENTORY_RESERVATION_PENDING", "inventory", "ReserveInventory"),
        ("PAYMENT_PROCESSING_PENDING", "payment", "ProcessPayment"),
        ("ORDER_CREATION_PENDING", "order", "CreateOrder"),
        ("CART_CLEARANCE_PENDING", "cart", "ClearCart"),
    ],
)
def test_line_13_a_deadline_sends_the_same_command_again(state: str, step: str, command: str) -> None:
    talk = a_checkout_awaiting(state)
    first = talk.said[-1]
    talk.given_deadline(step).expect(command).in_state(state).awaiting((step, Verb.DO))
    assert talk.said[-1] == first
    assert talk.last.path == ()


def test_line_13_timers_are_set_and_cleared_with_the_transition() -> None:
    talk = a_checkout().given("CheckoutInitiated").awaiting(("inventory", Verb.DO))
    talk.given("InventoryReserved").awaiting(("payment", Verb.DO))
    talk.given("PaymentProcessed").awaiting(("order", Verb.DO))
    talk.given("OrderCreationFailed").awaiting(("payment", Verb.UNDO), ("inventory", Verb.UNDO))
    talk.given("PaymentCompensated").awaiting(("inventory", Verb.UNDO))
    talk.given("InventoryCompensated").awaiting()


@pytest.mark.parametrize(
    ("state", "step", "verb", "why"),
    [
        ("PAYMENT_PROCESSING_PENDING", "inventory", Verb.DO, "not_awaited"),
        ("PAYMENT_PROCESSING_PENDING", "inventory", Verb.UNDO, "not_awaited"),
        ("PAYMENT_PROCESSING_PENDING", "payment", Verb.UNDO, "not_awaited"),
        ("PAYMENT_PROCESSING_PENDING", "no_such_step", Verb.DO, "unknown_step"),
        ("COMPLETED", "cart", Verb.DO, "saga_ended"),
    ],
)
def test_a_deadline_that_nobody_needs_leaves_no_trace(state: str, step: str, verb: Verb, why: str) -> None:
    talk = a_checkout_awaiting(state).given_deadline(step, verb, overdue=True)
    talk.expect().ignored(why, recorded=False)


def test_a_deadline_of_a_saga_that_does_not_exist_leaves_no_trace() -> None:
    event = Event(SAGA, f"{SAGA}:x", DEADLINE_PASSED, DeadlinePassed("inventory", Verb.DO, overdue=True))
    assert decide(CHECKOUT, None, event, 1) == Decision(ignored="unknown_saga", recorded=False)
