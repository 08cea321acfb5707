"""One table of messages: who writes each, on which topic, who reads it, and which id it has.

Keys are saga ids on every topic, so that one saga is one ordered lane everywhere.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

ORCHESTRATOR = "checkout-orchestrator"
GATEWAY = "gateway-bff"
INVENTORY = "inventory-write"
PAYMENT = "payment-gateway"
ORDER = "order-create"
CART = "cart-crud"
SERVICES = (CART, INVENTORY, PAYMENT, ORDER, ORCHESTRATOR, GATEWAY)

EVENTS = "checkout.checkout-events"
INVENTORY_COMMANDS = "checkout.inventory-command"
PAYMENT_COMMANDS = "checkout.payment-command"
ORDER_COMMANDS = "checkout.order-command"
CART_COMMANDS = "checkout.cart-command"

PARTITIONS = 12
PARTITIONS_EMBEDDED = 4
MESSAGE_BYTES_MAX = 900_000

OUTCOME_REQUESTED = "OutcomeRequested"


class MessageType(NamedTuple):
    """One row of the table. `ids` maps what follows the saga in a message id to the one service that says it.

    Of OutcomeRequested each step's participant has an id of its own, whose last part counts.
    """

    name: str
    topic: str
    readers: frozenset[str]
    ids: Mapping[str, str]

    @property
    def writers(self) -> frozenset[str]:
        """The services that say it: one, but for OutcomeRequested."""
        return frozenset(self.ids.values())

    def writer_of(self, message_id: str, saga_id: str) -> str | None:
        """Return the one service that says this message under this id; None if the id is not its."""
        prefix = f"{saga_id}:"
        if not message_id.startswith(prefix):
            return None
        suffix = message_id[len(prefix) :]
        if self.name == OUTCOME_REQUESTED:
            asked = _ASK.fullmatch(suffix)
            suffix = asked[1] if asked else ""
        return self.ids.get(suffix)


_ASK = re.compile(r"([a-z]+:ask):(?:0|[1-9][0-9]{0,18})", re.ASCII)


class _Step(NamedTuple):
    """A step's messages; the pivot has neither undo nor confirm."""

    name: str
    service: str
    topic: str
    do: str
    done: str
    failed: str
    undo: str = ""
    undone: str = ""
    confirm: str = ""


_STEPS = (
    _Step(
        "inventory",
        INVENTORY,
        INVENTORY_COMMANDS,
        "ReserveInventory",
        "InventoryReserved",
        "InventoryReservationFailed",
        "CompensateInventory",
        "InventoryCompensated",
        "ConfirmInventory",
    ),
    _Step(
        "payment",
        PAYMENT,
        PAYMENT_COMMANDS,
        "ProcessPayment",
        "PaymentProcessed",
        "PaymentFailed",
        "CompensatePayment",
        "PaymentCompensated",
        "ConfirmPayment",
    ),
    _Step(
        "order",
        ORDER,
        ORDER_COMMANDS,
        "CreateOrder",
        "OrderCreated",
        "OrderCreationFailed",
        "CompensateOrder",
        "OrderCompensated",
        "ConfirmOrder",
    ),
    _Step("cart", CART, CART_COMMANDS, "ClearCart", "CartCleared", "CartClearanceFailed"),
)


def _messages() -> list[MessageType]:
    orchestrator, gateway = frozenset({ORCHESTRATOR}), frozenset({GATEWAY})
    rows = [MessageType("CheckoutInitiated", EVENTS, orchestrator, {"initiated": GATEWAY})]
    for step in _STEPS:
        answers = (("done", step.done), ("failed", step.failed), ("compensated", step.undone))
        commands = (("do", step.do), ("undo", step.undo), ("confirm", step.confirm))
        rows += [
            MessageType(name, EVENTS, orchestrator, {f"{step.name}:{suffix}": step.service})
            for suffix, name in answers
            if name
        ]
        rows += [
            MessageType(name, step.topic, frozenset({step.service}), {f"{step.name}:{suffix}": ORCHESTRATOR})
            for suffix, name in commands
            if name
        ]
    askers = {f"{step.name}:ask": step.service for step in _STEPS if step.undo}
    return [
        *rows,
        MessageType(OUTCOME_REQUESTED, EVENTS, orchestrator, askers),
        MessageType("CheckoutCompleted", EVENTS, gateway, {"completed": ORCHESTRATOR}),
        MessageType("CheckoutFailed", EVENTS, gateway, {"failed": ORCHESTRATOR}),
    ]


MESSAGES: dict[str, MessageType] = {message.name: message for message in _messages()}
"""Message type to its row."""


@dataclass(frozen=True)
class Topic:
    """A topic with its `owner`, the service that parks undecodable and unknown records of it."""

    name: str
    owner: str
    types: dict[str, frozenset[str]]  # message type -> services that read it


TOPICS: dict[str, Topic] = {
    name: Topic(name, owner, {m.name: m.readers for m in MESSAGES.values() if m.topic == name})
    for name, owner in ((EVENTS, ORCHESTRATOR), *((step.topic, step.service) for step in _STEPS))
}

TOPIC_OF: dict[str, str] = {kind: topic.name for topic in TOPICS.values() for kind in topic.types}
"""Message type to the one topic that it travels on."""

READS: dict[str, tuple[str, ...]] = {
    service: tuple(t.name for t in TOPICS.values() if any(service in readers for readers in t.types.values()))
    for service in SERVICES
}
"""Service to the topics that it subscribes to."""


def dead_letters(topic: str) -> str:
    """Name the topic that receives what `topic` could not deliver."""
    return f"{topic}.dlq"


def all_topics() -> tuple[str, ...]:
    """List every topic that must exist before a service starts, dead letters included."""
    return (*TOPICS, *(dead_letters(name) for name in TOPICS))


_WRITERS: dict[str, frozenset[str]] = {
    name: frozenset(writer for m in MESSAGES.values() if m.topic == name for writer in m.writers)
    for name in TOPICS
}
_READERS: dict[str, frozenset[str]] = {
    name: frozenset(service for service in SERVICES if name in READS[service]) for name in TOPICS
}


def signers_read_by(service: str) -> frozenset[str]:
    """Return the writers that share a topic with others and of which this service reads a message."""
    return frozenset(
        writer
        for message in MESSAGES.values()
        if service in message.readers and len(_WRITERS[message.topic]) > 1
        for writer in message.writers
    )


def writers_of(topic: str) -> frozenset[str]:
    """Return the services that may write to this topic; to a dead-letter topic, its topic's readers."""
    for name in TOPICS:
        if topic == dead_letters(name):
            return _READERS[name]
    return _WRITERS[topic]


def readers_of(topic: str) -> frozenset[str]:
    """Return the services that read this topic; operators alone read a dead-letter topic."""
    return frozenset() if topic not in TOPICS and topic in all_topics() else _READERS[topic]
