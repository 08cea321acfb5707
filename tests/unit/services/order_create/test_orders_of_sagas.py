"""An order: PENDING when created, PLACED when confirmed, CANCELED when undone; refused by rule."""

import pytest
from tests.samples import LINES, NOT_AFTER_MS, TOTAL_MINOR, saga_id
from tests.unit.services.commands import Command, Participating, in_batches

from holdfast.contracts.messages import CreateOrder, EmptyPayload, Line, OrderCreated, Refused
from holdfast.services.order_create.domain import Order, OrderBatch
from holdfast.services.order_create.handlers import OrderParticipant
from holdfast.services.order_create.memory_store import MemoryOrderTransaction

A = saga_id(1)
LIMIT = 10_000
COMMAND = CreateOrder("ada", "GBP", TOTAL_MINOR, LINES, NOT_AFTER_MS)


def order(status: str) -> Order:
    return Order(f"order-{A}", A, "ada", "GBP", TOTAL_MINOR, status, LINES)


def test_an_order_is_created_pending_with_what_was_bought() -> None:
    book = OrderBatch(LIMIT)
    assert book.create(A, COMMAND) == OrderCreated(f"order-{A}", COMMAND.total_minor, COMMAND.currency)
    assert book.created == {A: order("PENDING")}


@pytest.mark.parametrize(
    ("total", "limit", "reason"),
    [
        (TOTAL_MINOR, TOTAL_MINOR, ""),
        (TOTAL_MINOR, TOTAL_MINOR - 1, "order_total_above_limit"),
        (TOTAL_MINOR - 1, LIMIT, "order_does_not_add_up"),
        (TOTAL_MINOR + 1, LIMIT, "order_does_not_add_up"),
    ],
)
def test_an_order_above_the_limit_or_that_does_not_add_up_is_refused(
    total: int, limit: int, reason: str
) -> None:
    book = OrderBatch(limit)
    outcome = book.create(A, CreateOrder("ada", "GBP", total, LINES, NOT_AFTER_MS))
    assert (outcome.reason if isinstance(outcome, Refused) else "") == reason
    assert bool(book.created) is not bool(reason)


def test_a_free_order_adds_up() -> None:
    outcome = OrderBatch(LIMIT).create(A, CreateOrder("ada", "GBP", 0, (Line("A", 3, 0),), NOT_AFTER_MS))
    assert isinstance(outcome, OrderCreated)


# -- behind the fence

DO = Command(A, "CreateOrder", COMMAND)
UNDO = Command(A, "CompensateOrder", EmptyPayload())
CONFIRM = Command(A, "ConfirmOrder", EmptyPayload())


def harness() -> Participating:
    return Participating(OrderParticipant(LIMIT), MemoryOrderTransaction)


@pytest.mark.parametrize("sizes", [(), (1,), (1, 1), (2,)])
@pytest.mark.parametrize(("last", "status"), [(UNDO, "CANCELED"), (CONFIRM, "PLACED")])
def test_an_order_gets_its_last_status_in_this_batch_or_a_later_one(
    sizes: tuple[int, ...], last: Command, status: str
) -> None:
    orders = harness()
    for batch in in_batches([DO, last, last, DO], sizes):
        orders.hear(*batch)
    assert orders.rows("orders") == {A: order(status)}


def test_an_undo_before_the_do_leaves_no_order() -> None:
    orders = harness()
    assert orders.answers(UNDO, DO) == ["OrderCompensated", "OrderCompensated"]
    assert not orders.rows("orders")


def test_a_refused_order_leaves_no_row_but_its_answer() -> None:
    orders = Participating(OrderParticipant(TOTAL_MINOR - 1), MemoryOrderTransaction)
    assert orders.answers(DO, DO) == ["OrderCreationFailed"] * 2
    assert not orders.rows("orders")
    assert orders.fence_states() == ["REFUSED"]


def test_a_placed_order_is_never_canceled() -> None:
    orders = harness()
    orders.hear(DO, CONFIRM)
    assert [parked.reason for parked in orders.hear(UNDO).parked] == ["impossible_command"]
    assert orders.rows("orders") == {A: order("PLACED")}
