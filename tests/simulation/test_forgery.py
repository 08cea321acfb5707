"""Forged messages, end to end in memory: they change no saga, no row and no money."""

from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.memory_platform import MemoryPlatform
from tests.origin import publish_as_written
from tests.samples import saga_id

from holdfast.bus.port import Message
from holdfast.contracts.messages import (
    CartCleared,
    CreateOrder,
    EmptyPayload,
    InventoryReserved,
    Line,
    OrderCreated,
    Payload,
    PaymentProcessed,
    ProcessPayment,
    Refused,
    ReserveInventory,
)
from holdfast.contracts.topics import INVENTORY, MESSAGES, ORCHESTRATOR, ORDER, PAYMENT
from holdfast.messaging.components import Components
from holdfast.messaging.envelope import seal
from holdfast.messaging.parked import DeadLetterFilter

SAGA = saga_id(7)
TOTAL_MINOR = 300
NO_FILTER = DeadLetterFilter()
PAID = PaymentProcessed("ch_forged", TOTAL_MINOR, "GBP")
PAYMENT_DONE = f"{SAGA}:payment:done"


def forged(payload: Payload = PAID, message_id: str = PAYMENT_DONE, said: str | None = PAYMENT) -> Message:
    """Make a PaymentProcessed whose source is `said` (None: without a source)."""
    message = seal(message_id, "PaymentProcessed", SAGA, payload, said or "")
    kept = tuple(header for header in message.headers if said is not None or header[0] != "ce_source")
    return message._replace(headers=kept)


FORGERIES: dict[str, tuple[str | None, Message, str]] = {
    "a stranger says that it is the writer": ("stranger", forged(), "wrong_source"),
    "another service says that it is the writer": (ORDER, forged(), "wrong_source"),
    "another service says so in its own name": (ORDER, forged(said=ORDER), "wrong_source"),
    "nothing proves who published it": (None, forged(), "unproven_source"),
    "the writer publishes it without a source": (PAYMENT, forged(said=None), "wrong_source"),
    "another id of the saga": (PAYMENT, forged(message_id=f"{SAGA}:payment:done:2"), "wrong_message_id"),
    "any id after the saga's": (PAYMENT, forged(message_id=f"{SAGA}:x"), "wrong_message_id"),
    "another amount": (
        PAYMENT,
        forged(PaymentProcessed("ch_1", TOTAL_MINOR - 1, "GBP")),
        "contradicts_request",
    ),
    "nothing at all": (PAYMENT, forged(PaymentProcessed("ch_1", 0, "GBP")), "contradicts_request"),
    "another currency": (
        PAYMENT,
        forged(PaymentProcessed("ch_1", TOTAL_MINOR, "USD")),
        "contradicts_request",
    ),
}


def under_way(card: str = "pm_card_chargeDeclined") -> MemoryPlatform:
    """Return a platform with one checkout that waits for its payment, whose card will be declined."""
    platform = MemoryPlatform({"pen": 10})
    platform.put_cart(f"cart-{SAGA}", [("pen", 3)])
    platform.initiate(SAGA, [("pen", 3)], card=card)
    without_payment = [parts for parts in platform.parts if parts is not platform.payment]
    for _ in range(10):
        for parts in without_payment:
            parts.manager.run_once(0)
            parts.relay.run_once(0)
    assert platform.state(SAGA) == "PAYMENT_PROCESSING_PENDING"
    return platform


def parked(parts: Components[Any]) -> list[str]:
    with parts.processor.store.transaction() as tx:
        return [row.reason for row in tx.find_parked(NO_FILTER, None, 100)]


@pytest.mark.parametrize("forgery", FORGERIES)
def test_line_37_a_forged_payment_completes_no_checkout_and_raises_an_alarm(forgery: str) -> None:
    source, message, reason = FORGERIES[forgery]
    platform = under_way()
    (platform.bus.of(source) if source else platform.bus).publisher().publish([message])
    with capture_logs() as logs:
        platform.orchestrator.manager.run_once(0)
    assert platform.state(SAGA) == "PAYMENT_PROCESSING_PENDING"
    assert parked(platform.orchestrator) == [reason]
    assert platform.orchestrator.processor.refused == {reason: 1}
    assert [(log["log_level"], log["reason"]) for log in logs if log["event"] == "message_refused"] == [
        ("error", reason)
    ]
    platform.settle()
    assert platform.state(SAGA) == "FAILED", "the card was declined, and that is heard"
    assert platform.stock("pen") == (10, 0, 0)
    assert not platform.provider.charges


ANSWERS: dict[str, tuple[str, Payload]] = {
    "InventoryReserved": ("fewer pieces", InventoryReserved(2)),
    "OrderCreated": ("another total", OrderCreated(f"order-{SAGA}", TOTAL_MINOR + 1, "GBP")),
    "CartCleared": ("another version of the cart", CartCleared(3, 2)),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_line_37_an_answer_that_differs_from_what_was_asked_is_refused(kind: str) -> None:
    _, payload = ANSWERS[kind]
    platform = under_way("pm_card_visa")
    ((suffix, writer),) = MESSAGES[kind].ids.items()
    publish_as_written(platform.bus, [seal(f"{SAGA}:{suffix}", kind, SAGA, payload, writer)])
    platform.settle()
    assert parked(platform.orchestrator) == ["contradicts_request"]
    assert platform.state(SAGA) == "COMPLETED"


LINES = (Line("pen", 3, 100),)
LATE_MS = 2**42
REPEATS: dict[str, tuple[str, Payload]] = {
    "other pieces": (INVENTORY, ReserveInventory((Line("pen", 4, 100),), LATE_MS)),
    "another amount": (PAYMENT, ProcessPayment("ada", "pm_card_visa", 299, "GBP", LATE_MS)),
    "another card": (PAYMENT, ProcessPayment("ada", "pm_card_other", 300, "GBP", LATE_MS)),
    "another currency": (PAYMENT, ProcessPayment("ada", "pm_card_visa", 300, "USD", LATE_MS)),
    "another total": (ORDER, CreateOrder("ada", "GBP", 299, LINES, LATE_MS)),
}
KINDS = {INVENTORY: "ReserveInventory", PAYMENT: "ProcessPayment", ORDER: "CreateOrder"}
STEPS = {INVENTORY: "inventory", PAYMENT: "payment", ORDER: "order"}


@pytest.mark.parametrize("difference", REPEATS)
def test_line_37_a_repeated_command_that_contradicts_its_row_is_refused(difference: str) -> None:
    service, payload = REPEATS[difference]
    platform = under_way("pm_card_visa")
    platform.settle()
    assert platform.state(SAGA) == "COMPLETED"
    parts = {p.processor.service: p for p in platform.parts}[service]
    before = dict(platform.provider.charges), platform.stock("pen")
    command = seal(f"{SAGA}:{STEPS[service]}:do", KINDS[service], SAGA, payload, ORCHESTRATOR)
    publish_as_written(platform.bus, [command])
    platform.settle()
    assert parked(parts) == ["contradicts_record"]
    assert (dict(platform.provider.charges), platform.stock("pen")) == before


def test_a_repeated_command_that_says_the_same_is_answered_as_before() -> None:
    platform = under_way("pm_card_visa")
    platform.settle()
    commands = [
        Message(record.topic, record.key or b"", record.value, record.headers)
        for log in platform.bus.state.log.values()
        for record in log
        if record.source == ORCHESTRATOR and record.topic.endswith("-command")
    ]
    assert len(commands) == 7
    publish_as_written(platform.bus, commands)
    platform.settle()
    assert [reason for parts in platform.parts for reason in parked(parts)] == []


def test_line_37_a_decline_for_a_completed_checkout_is_kept_for_a_person() -> None:
    platform = under_way("pm_card_visa")
    platform.settle()
    assert platform.state(SAGA) == "COMPLETED"
    decline = Refused("payment_declined", "the bank changed its mind")
    declined = seal(f"{SAGA}:payment:failed", "PaymentFailed", SAGA, decline, PAYMENT)
    undone = seal(f"{SAGA}:order:compensated", "OrderCompensated", SAGA, EmptyPayload(), ORDER)
    publish_as_written(platform.bus, [declined, undone])
    platform.settle()
    assert platform.state(SAGA) == "COMPLETED"
    assert parked(platform.orchestrator) == ["contradicts_end"] * 2
    assert platform.orchestrator.processor.refused == {"contradicts_end": 2}


def test_line_37_a_success_of_a_step_that_had_refused_is_kept_for_a_person() -> None:
    platform = under_way()
    platform.settle()
    assert platform.state(SAGA) == "FAILED"
    reserved = InventoryReserved(3)
    repeated = seal(f"{SAGA}:inventory:done", "InventoryReserved", SAGA, reserved, INVENTORY)
    paid = seal(PAYMENT_DONE, "PaymentProcessed", SAGA, PAID, PAYMENT)
    publish_as_written(platform.bus, [repeated, paid])
    platform.settle()
    assert parked(platform.orchestrator) == ["contradicts_end"], "a repeat stays a repeat"
    assert platform.state(SAGA) == "FAILED"


def test_a_refused_cancellation_is_no_payment() -> None:
    """A decline under the id of a success is no message at all."""
    platform = under_way("pm_card_visa")
    decline = seal(PAYMENT_DONE, "PaymentFailed", SAGA, Refused("payment_declined", "no"), PAYMENT)
    publish_as_written(platform.bus, [decline])
    platform.settle()
    assert parked(platform.orchestrator) == ["wrong_message_id"]
    assert platform.state(SAGA) == "COMPLETED"
