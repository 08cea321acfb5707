"""Nothing is left half done, and what the seed named can be found by its name."""

import re

import pytest
from tests.tidy.sources import ROOT, SRC, name_of, python_files

from holdfast.contracts.topics import PAYLOADS, SERVICES, TOPICS
from holdfast.sagas.checkout import CHECKOUT

UNFINISHED = re.compile(
    r"\b(TODO|FIXME|XXX|HACK|NotImplementedError|pytest\.skip|pytest\.mark\.skip|xfail)\b"
)
READABLE = ("*.py", "*.sql", "*.md", "*.toml", "*.yaml", "*.yml", "*.sh")


def test_nothing_is_left_half_done() -> None:
    found = [
        f"{name_of(path)}: {match.group()}"
        for folder in ("src", "tests", "scripts", "docs")
        for pattern in READABLE
        for path in sorted((ROOT / folder).rglob(pattern))
        if path.name != "test_words.py"
        for match in UNFINISHED.finditer(path.read_text("utf-8"))
    ]
    assert found == []


def test_no_linter_is_silenced_without_a_code() -> None:
    blanket = re.compile(r"# (noqa|type: ignore)(?![:\[])")
    found = [
        name_of(path)
        for folder in ("src", "tests", "scripts")
        for path in python_files(ROOT / folder)
        if path.name != "test_words.py" and blanket.search(path.read_text("utf-8"))
    ]
    assert found == []


SEED = [
    "class KafkaConsumerManager",
    "class ProducerManager",
    "class CheckoutService",
    "def handle_inventory_reservation_failed",
    "def handle_payment_failed",
    "def handle_order_creation_failed",
    "def handle_cart_clearance_failed",
    "processed_event_ids",
    "/health",
    "pybreaker",
    "generate_latest",
]
TOPIC_NAMES = [
    "checkout.checkout-events",
    "checkout.inventory-command",
    "checkout.payment-command",
    "checkout.order-command",
    "checkout.cart-command",
]
MESSAGES = [
    "CheckoutInitiated",
    "CheckoutCompleted",
    "CheckoutFailed",
    "OutcomeRequested",
    "ReserveInventory",
    "InventoryReserved",
    "InventoryReservationFailed",
    "CompensateInventory",
    "InventoryCompensated",
    "ProcessPayment",
    "PaymentProcessed",
    "PaymentFailed",
    "CompensatePayment",
    "PaymentCompensated",
    "CreateOrder",
    "OrderCreated",
    "OrderCreationFailed",
    "CompensateOrder",
    "OrderCompensated",
    "ClearCart",
    "CartCleared",
    "CartClearanceFailed",
    "ConfirmInventory",
    "ConfirmPayment",
    "ConfirmOrder",
]
STATES = [
    "CHECKOUT_INITIATED",
    "INVENTORY_RESERVATION_PENDING",
    "INVENTORY_RESERVED",
    "PAYMENT_PROCESSING_PENDING",
    "PAYMENT_PROCESSED",
    "ORDER_CREATION_PENDING",
    "ORDER_CREATED",
    "CART_CLEARANCE_PENDING",
    "COMPLETED",
    "COMPENSATING",
    "FAILED",
]
SERVICE_NAMES = [
    "gateway-bff",
    "checkout-orchestrator",
    "inventory-write",
    "payment-gateway",
    "order-create",
    "cart-crud",
]


@pytest.mark.parametrize("name", [*SEED, *TOPIC_NAMES, *MESSAGES, *STATES, *SERVICE_NAMES])
def test_what_the_seed_named_is_found_by_its_name(name: str) -> None:
    assert any(name in path.read_text("utf-8") for path in python_files(SRC))


def test_the_lists_of_names_are_complete() -> None:
    states = {state for step in CHECKOUT.steps for state in (step.pending, step.finished)}
    states |= {CHECKOUT.initial, CHECKOUT.compensating, CHECKOUT.failed_state}
    assert set(STATES) == states
    assert set(MESSAGES) == set(PAYLOADS)
    assert set(TOPIC_NAMES) == set(TOPICS)
    assert set(SERVICE_NAMES) == set(SERVICES)


def test_every_seed_named_handler_is_the_reaction_to_its_event() -> None:
    named = {kind: reaction.__name__ for kind, reaction in CHECKOUT.reactions.items()}
    assert {f"def {name}" for name in named.values()} == {name for name in SEED if name.startswith("def ")}
    assert named == {kind: CHECKOUT.reaction_names[kind] for kind in named}


def test_every_module_opens_with_what_it_is_for() -> None:
    empty = [
        name_of(path) for path in python_files(SRC) if not path.read_text("utf-8").lstrip().startswith('"""')
    ]
    assert empty == []
