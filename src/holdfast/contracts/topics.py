"""One table of topics: who writes, who reads, who parks what nobody understands.

Keys are saga ids on every topic, so that one saga is one ordered lane everywhere.
"""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Topic:
    """A topic with its `owner`, the service that parks undecodable and unknown records of it."""

    name: str
    owner: str
    types: dict[str, frozenset[str]]  # message type -> services that read it


def _readers(*services: str) -> frozenset[str]:
    return frozenset(services)


def _commands(name: str, owner: str, *types: str) -> Topic:
    return Topic(name, owner, dict.fromkeys(types, _readers(owner)))


TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(
            EVENTS,
            ORCHESTRATOR,
            {
                **dict.fromkeys(
                    (
                        "CheckoutInitiated",
                        "InventoryReserved",
                        "InventoryReservationFailed",
                        "InventoryCompensated",
                        "PaymentProcessed",
                        "PaymentFailed",
                        "PaymentCompensated",
                        "OrderCreated",
                        "OrderCreationFailed",
                        "OrderCompensated",
                        "CartCleared",
                        "CartClearanceFailed",
                        "OutcomeRequested",
                    ),
                    _readers(ORCHESTRATOR),
                ),
                "CheckoutCompleted": _readers(GATEWAY),
                "CheckoutFailed": _readers(GATEWAY),
            },
        ),
        _commands(
            INVENTORY_COMMANDS, INVENTORY, "ReserveInventory", "CompensateInventory", "ConfirmInventory"
        ),
        _commands(PAYMENT_COMMANDS, PAYMENT, "ProcessPayment", "CompensatePayment", "ConfirmPayment"),
        _commands(ORDER_COMMANDS, ORDER, "CreateOrder", "CompensateOrder", "ConfirmOrder"),
        _commands(CART_COMMANDS, CART, "ClearCart"),
    )
}

TOPIC_OF: dict[str, str] = {kind: topic.name for topic in TOPICS.values() for kind in topic.types}
"""Message type to the one topic that it travels on."""

READS: dict[str, tuple[str, ...]] = {
    service: tuple(t.name for t in TOPICS.values() if any(service in readers for readers in t.types.values()))
    for service in SERVICES
}
"""Service to the topics that it subscribes to."""


_WRITERS: dict[str, frozenset[str]] = {
    topic.name: frozenset(SERVICES) if topic.name == EVENTS else frozenset({ORCHESTRATOR, topic.owner})
    for topic in TOPICS.values()
}


def writers_of(topic: str) -> frozenset[str]:
    """Return the services that a bus must let write a topic. Raises KeyError where there is none.

    A topic's readers are among them: an operator's redrive sends a parked message to where it was, through
    the service that parked it. Dead letters are written by the readers of the topic that they are from.
    """
    if topic in TOPICS:
        return _WRITERS[topic]
    return readers_of(_origin_of(topic))


def readers_of(topic: str) -> frozenset[str]:
    """Return the services that read a topic; none reads dead letters. Raises KeyError."""
    if topic in TOPICS:
        return frozenset().union(*TOPICS[topic].types.values())
    _origin_of(topic)
    return frozenset()


def dead_letters(topic: str) -> str:
    """Name the topic that receives what `topic` could not deliver."""
    return f"{topic}.dlq"


def all_topics() -> tuple[str, ...]:
    """List every topic that must exist before a service starts, dead letters included."""
    return (*TOPICS, *(dead_letters(name) for name in TOPICS))


def _origin_of(topic: str) -> str:
    """Return the topic whose dead letters these are."""
    return {dead_letters(name): name for name in TOPICS}[topic]
