"""The state diagram: equal to the list written here by hand, and to the page in docs."""

from scripts.generate_state_machine import PAGES, render
from tests.unit.saga.trip import TRIP

from holdfast.saga.diagram import Edge, edges, mermaid
from holdfast.sagas.checkout import CHECKOUT

BY_HAND = {
    # the way forward, as the seed draws it
    ("NONE", "CHECKOUT_INITIATED"),
    ("CHECKOUT_INITIATED", "INVENTORY_RESERVATION_PENDING"),
    ("INVENTORY_RESERVATION_PENDING", "INVENTORY_RESERVED"),
    ("INVENTORY_RESERVED", "PAYMENT_PROCESSING_PENDING"),
    ("PAYMENT_PROCESSING_PENDING", "PAYMENT_PROCESSED"),
    ("PAYMENT_PROCESSED", "ORDER_CREATION_PENDING"),
    ("ORDER_CREATION_PENDING", "ORDER_CREATED"),
    ("ORDER_CREATED", "CART_CLEARANCE_PENDING"),
    ("CART_CLEARANCE_PENDING", "COMPLETED"),
    # leaving it
    ("INVENTORY_RESERVATION_PENDING", "FAILED"),
    ("INVENTORY_RESERVATION_PENDING", "COMPENSATING"),
    ("PAYMENT_PROCESSING_PENDING", "COMPENSATING"),
    ("ORDER_CREATION_PENDING", "COMPENSATING"),
    ("CART_CLEARANCE_PENDING", "COMPENSATING"),
    ("COMPENSATING", "FAILED"),
    # a cancellation that comes before its saga
    ("NONE", "FAILED"),
}


def test_the_edges_of_the_checkout_are_those_written_by_hand() -> None:
    assert {(edge.before, edge.after) for edge in edges(CHECKOUT)} == BY_HAND


def test_each_refusal_of_the_seed_leads_where_the_seed_says() -> None:
    found = edges(CHECKOUT)
    assert Edge("INVENTORY_RESERVATION_PENDING", "FAILED", "InventoryReservationFailed") in found
    assert Edge("PAYMENT_PROCESSING_PENDING", "COMPENSATING", "PaymentFailed") in found
    assert Edge("ORDER_CREATION_PENDING", "COMPENSATING", "OrderCreationFailed") in found
    assert Edge("CART_CLEARANCE_PENDING", "COMPENSATING", "CartClearanceFailed") in found
    assert Edge("INVENTORY_RESERVED", "PAYMENT_PROCESSING_PENDING", "ProcessPayment") in found


def test_neither_deadline_nor_cancellation_leaves_the_pivot() -> None:
    causes = {edge.cause for edge in edges(CHECKOUT) if edge.before == "CART_CLEARANCE_PENDING"}
    assert causes == {"CartCleared", "CartClearanceFailed"}


def test_the_pages_in_docs_are_those_that_the_definitions_give() -> None:
    for path in PAGES:
        assert path.read_text("utf-8") == render(path), "run scripts/generate_state_machine.py"


def test_the_picture_of_any_saga_shows_each_edge_once_and_both_ends() -> None:
    lines = mermaid(TRIP).splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert "    [*] --> WANTED: TripWanted" in lines
    assert "    MAILING_TICKETS --> READY: TicketsMailed" in lines
    assert "    UNDOING_TRIP --> CALLED_OFF: FlightCanceled" in lines
    assert lines[-2:] == ["    READY --> [*]", "    CALLED_OFF --> [*]"]
    arrows = [line.split(":")[0] for line in lines if "-->" in line]
    assert len(arrows) == len(set(arrows))
