"""The way forward and back (protocol, lines 7 to 10), as conversations."""

import pytest
from tests.unit.saga.conversation import a_checkout, a_checkout_awaiting

from holdfast.contracts.messages import (
    CheckoutCompleted,
    CheckoutFailed,
    ClearCart,
    CreateOrder,
    ProcessPayment,
    ReserveInventory,
)
from holdfast.saga.state import Verb

INVENTORY = "INVENTORY_RESERVATION_PENDING"
PAYMENT = "PAYMENT_PROCESSING_PENDING"
ORDER = "ORDER_CREATION_PENDING"
CART = "CART_CLEARANCE_PENDING"
FAR_ENOUGH = [
    (INVENTORY, ("inventory",)),
    (PAYMENT, ("payment", "inventory")),
    (ORDER, ("order", "payment", "inventory")),
]
UNDO = {"inventory": "CompensateInventory", "payment": "CompensatePayment", "order": "CompensateOrder"}


def test_line_7_each_answer_brings_the_next_command_and_the_last_one_the_end() -> None:
    talk = a_checkout()
    talk.given("CheckoutInitiated").expect("ReserveInventory").in_state(INVENTORY)
    talk.given("InventoryReserved").expect("ProcessPayment").in_state(PAYMENT)
    talk.given("PaymentProcessed").expect("CreateOrder").in_state(ORDER)
    talk.given("OrderCreated").expect("ClearCart").in_state(CART)
    talk.given("CartCleared").in_state("COMPLETED")
    assert talk.path == [
        "NONE",
        "CHECKOUT_INITIATED",
        "INVENTORY_RESERVATION_PENDING",
        "INVENTORY_RESERVED",
        "PAYMENT_PROCESSING_PENDING",
        "PAYMENT_PROCESSED",
        "ORDER_CREATION_PENDING",
        "ORDER_CREATED",
        "CART_CLEARANCE_PENDING",
        "COMPLETED",
    ]


def test_commands_carry_what_the_snapshot_held_and_its_last_moment() -> None:
    talk = a_checkout().given("CheckoutInitiated", "InventoryReserved", "PaymentProcessed", "OrderCreated")
    start = talk.payloads["CheckoutInitiated"]
    assert [message.payload for message in talk.said] == [
        ReserveInventory(lines=start.lines, not_after_ms=start.not_after_ms),
        ProcessPayment(start.user_id, start.payment_method, start.total_minor, "GBP", start.not_after_ms),
        CreateOrder(start.user_id, "GBP", start.total_minor, start.lines, start.not_after_ms),
        ClearCart(start.user_id, start.cart_id, start.cart_version, start.lines),
    ]


def test_message_ids_are_made_of_saga_step_and_verb_alone() -> None:
    talk = a_checkout().given("CheckoutInitiated", "InventoryReserved", "PaymentProcessed", "OrderCreated")
    talk.given("CartCleared")
    assert talk.saga is not None
    ids = [message.message_id.removeprefix(f"{talk.saga.saga_id}:") for message in talk.said]
    assert ids == [
        "inventory:do",
        "payment:do",
        "order:do",
        "cart:do",
        "inventory:confirm",
        "payment:confirm",
        "order:confirm",
        "completed",
    ]
    back = a_checkout().given("CheckoutInitiated", "InventoryReserved", "PaymentFailed")
    back.given("InventoryCompensated")
    assert [message.message_id.rpartition(":")[2] for message in back.said] == ["do", "do", "undo", "failed"]


def test_line_7_a_refused_payment_leaves_the_way_forward() -> None:
    talk = a_checkout()
    talk.given("CheckoutInitiated").expect("ReserveInventory")
    talk.given("InventoryReserved").expect("ProcessPayment")
    talk.given("PaymentFailed").expect("CompensateInventory").in_state("COMPENSATING", owed=("inventory",))
    talk.given("InventoryCompensated").expect("CheckoutFailed").in_state("FAILED")


@pytest.mark.parametrize(
    ("state", "undone", "still_owed"),
    [
        (PAYMENT, "PaymentCompensated", ("inventory",)),
        (ORDER, "OrderCompensated", ("payment", "inventory")),
    ],
)
def test_line_7_a_compensated_for_the_awaited_step_counts_as_its_failed_with_that_undo_answered(
    state: str, undone: str, still_owed: tuple[str, ...]
) -> None:
    talk = a_checkout_awaiting(state).given(undone)
    talk.expect(*(UNDO[step] for step in still_owed)).in_state("COMPENSATING", owed=still_owed)
    assert talk.saga is not None
    assert talk.saga.reason == "undone_before_done"


def test_line_7_the_first_step_undone_before_it_was_done_ends_the_saga() -> None:
    a_checkout_awaiting(INVENTORY).given("InventoryCompensated").expect("CheckoutFailed").in_state("FAILED")


@pytest.mark.parametrize(("state", "asked"), FAR_ENOUGH)
def test_line_8_a_refusal_owes_one_undo_for_every_earlier_step_last_step_first(
    state: str, asked: tuple[str, ...]
) -> None:
    refused, earlier = asked[0], asked[1:]
    kinds = {
        "inventory": "InventoryReservationFailed",
        "payment": "PaymentFailed",
        "order": "OrderCreationFailed",
    }
    talk = a_checkout_awaiting(state).given(kinds[refused], reason="no", detail="because")
    if earlier:
        talk.expect(*(UNDO[step] for step in earlier)).in_state("COMPENSATING", owed=earlier)
    else:
        talk.expect("CheckoutFailed").in_state("FAILED")
    assert talk.saga is not None
    assert (talk.saga.reason, talk.saga.detail) == ("no", "because")


@pytest.mark.parametrize(("state", "asked"), FAR_ENOUGH)
def test_line_8_an_expired_deadline_owes_the_silent_step_too(state: str, asked: tuple[str, ...]) -> None:
    talk = a_checkout_awaiting(state).given_deadline(asked[0], overdue=True)
    talk.expect(*(UNDO[step] for step in asked)).in_state("COMPENSATING", owed=asked)
    talk.awaiting(*((step, Verb.UNDO) for step in asked))
    assert talk.saga is not None
    assert talk.saga.reason == "deadline"


@pytest.mark.parametrize(("state", "asked"), FAR_ENOUGH)
def test_line_8_a_cancellation_owes_the_awaited_step_too(state: str, asked: tuple[str, ...]) -> None:
    talk = a_checkout_awaiting(state).given_cancellation()
    talk.expect(*(UNDO[step] for step in asked)).in_state("COMPENSATING", owed=asked)
    assert talk.saga is not None
    assert talk.saga.reason == "canceled"


@pytest.mark.parametrize(
    "answers",
    [
        ("InventoryCompensated", "PaymentCompensated", "OrderCompensated"),
        ("OrderCompensated", "PaymentCompensated", "InventoryCompensated"),
        ("PaymentCompensated", "OrderCompensated", "InventoryCompensated"),
    ],
)
def test_line_8_undos_are_awaited_side_by_side_and_all_of_them(answers: tuple[str, str, str]) -> None:
    talk = a_checkout_awaiting(CART).given("CartClearanceFailed")
    talk.expect("CompensateOrder", "CompensatePayment", "CompensateInventory")
    talk.given(answers[0]).expect().given(answers[1]).expect()
    assert talk.saga is not None
    assert talk.saga.state == "COMPENSATING"
    talk.given(answers[2]).expect("CheckoutFailed").in_state("FAILED").awaiting()


def test_line_8_an_undo_answered_twice_is_ticked_off_once() -> None:
    talk = a_checkout_awaiting(CART).given("CartClearanceFailed", "OrderCompensated")
    talk.given("OrderCompensated").expect().ignored("compensating")
    talk.in_state("COMPENSATING", owed=("payment", "inventory"))


def test_line_8_none_owed_fails_at_once() -> None:
    talk = a_checkout().given("CheckoutInitiated").given("InventoryReservationFailed")
    talk.expect("CheckoutFailed").in_state("FAILED").awaiting()


def test_line_8_a_cancellation_that_comes_before_its_saga_is_written_as_failed() -> None:
    talk = a_checkout().given_cancellation().expect("CheckoutFailed").in_state("FAILED")
    assert talk.path == ["NONE", "FAILED"]
    talk.given("CheckoutInitiated").expect("CheckoutFailed").ignored("repeated_start")


@pytest.mark.parametrize("late", ["InventoryReserved", "PaymentProcessed", "PaymentFailed", "OrderCreated"])
def test_line_8_what_arrives_late_adds_no_obligation_and_is_recorded_with_its_reason(late: str) -> None:
    talk = a_checkout_awaiting(PAYMENT).given_deadline("payment", overdue=True)
    talk.given(late).expect().ignored("compensating").in_state("COMPENSATING", owed=("payment", "inventory"))
    talk.given("PaymentCompensated", "InventoryCompensated")
    talk.given(late).expect().ignored("saga_ended")


@pytest.mark.parametrize("overdue", [False, True])
def test_line_9_the_deadline_of_the_pivot_only_sends_it_again(overdue: bool) -> None:
    talk = a_checkout_awaiting(CART)
    for _ in range(5):
        talk.given_deadline("cart", overdue=overdue).expect("ClearCart").in_state(CART)
    talk.awaiting(("cart", Verb.DO))


def test_line_9_only_an_explicit_refusal_of_the_pivot_leads_back() -> None:
    talk = a_checkout_awaiting(CART).given("CartClearanceFailed", reason="cart_on_hold")
    talk.expect("CompensateOrder", "CompensatePayment", "CompensateInventory")
    talk.in_state("COMPENSATING", owed=("order", "payment", "inventory"))


def test_line_9_a_cancellation_is_refused_once_the_pivot_is_sent() -> None:
    talk = a_checkout_awaiting(CART).given_cancellation()
    talk.expect().ignored("past_the_pivot", recorded=False).in_state(CART)


@pytest.mark.parametrize("state", ["COMPENSATING", "FAILED", "COMPLETED"])
def test_a_cancellation_changes_nothing_where_the_end_is_decided(state: str) -> None:
    talk = a_checkout_awaiting(CART)
    if state == "COMPLETED":
        talk.given("CartCleared")
    else:
        talk.given("CartClearanceFailed")
    if state == "FAILED":
        talk.given("OrderCompensated", "PaymentCompensated", "InventoryCompensated")
    assert talk.saga is not None
    assert talk.saga.state == state
    before = talk.saga
    reason = "compensating" if state == "COMPENSATING" else "saga_ended"
    talk.given_cancellation().expect().ignored(reason, recorded=False)
    assert talk.saga == before


def test_line_10_completed_confirms_every_step_and_tells_the_gateway() -> None:
    talk = a_checkout_awaiting(CART).given("CartCleared", version_left=9)
    talk.expect("ConfirmInventory", "ConfirmPayment", "ConfirmOrder", "CheckoutCompleted").awaiting()
    assert talk.saga is not None
    start = talk.payloads["CheckoutInitiated"]
    assert talk.said[-1].payload == CheckoutCompleted(
        order_id="order-1",
        total_minor=start.total_minor,
        currency="GBP",
        cart_version_left=9,
        saga_version=talk.saga.version,
    )
    assert talk.saga.ended_ms == talk.now_ms


def test_line_10_failed_says_why_and_at_which_version() -> None:
    talk = a_checkout().given("CheckoutInitiated")
    talk.given("InventoryReservationFailed", reason="out_of_stock", detail="none left")
    assert talk.saga is not None
    assert talk.said[-1].payload == CheckoutFailed("out_of_stock", talk.saga.version, "none left")
    assert talk.saga.ended_ms == talk.now_ms


@pytest.mark.parametrize("end", ["COMPLETED", "FAILED"])
def test_line_10_final_states_are_final(end: str) -> None:
    talk = a_checkout_awaiting(CART)
    talk.given("CartCleared" if end == "COMPLETED" else "CartClearanceFailed")
    if end == "FAILED":
        talk.given("OrderCompensated", "PaymentCompensated", "InventoryCompensated")
    ended = talk.saga
    for kind in talk.definition.event_kinds:
        talk.given(kind)
    talk.given_cancellation()
    for step in talk.definition.steps:
        for verb in (Verb.DO, Verb.UNDO):
            talk.given_deadline(step.name, verb, overdue=True)
    assert talk.saga == ended
    talk.in_state(end)
