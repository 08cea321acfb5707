"""One table of messages: who writes each, on which topic, who reads it, which id and which payload it has.

It derives from the table of steps. Keys are saga ids on every topic, so that one saga is one ordered lane.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.contracts import steps
from holdfast.contracts.messages import (
    CheckoutCompleted,
    CheckoutFailed,
    CheckoutInitiated,
    EmptyPayload,
    OutcomeRequested,
    Payload,
    Refused,
)
from holdfast.contracts.steps import STEPS, StepRow

# The names of services and topics stand with the steps; most of the code takes them from here.
ORCHESTRATOR, GATEWAY, SERVICES = steps.ORCHESTRATOR, steps.GATEWAY, steps.SERVICES
INVENTORY, PAYMENT, ORDER, CART = steps.INVENTORY, steps.PAYMENT, steps.ORDER, steps.CART
INVENTORY_COMMANDS, PAYMENT_COMMANDS = steps.INVENTORY_COMMANDS, steps.PAYMENT_COMMANDS
ORDER_COMMANDS, CART_COMMANDS = steps.ORDER_COMMANDS, steps.CART_COMMANDS
EVENTS = "checkout.checkout-events"

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
    payload: type[Payload]

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


def _of_step(step: StepRow) -> Iterator[MessageType]:
    names = step.messages
    for suffix, writer, name, payload in (
        ("done", step.service, names.done, step.done),
        ("failed", step.service, names.failed, Refused),
        ("compensated", step.service, names.undone, EmptyPayload),
        ("do", ORCHESTRATOR, names.do, step.do),
        ("undo", ORCHESTRATOR, names.undo, EmptyPayload),
        ("confirm", ORCHESTRATOR, names.confirm, EmptyPayload),
    ):
        if name:
            topic, reader = (step.topic, step.service) if writer == ORCHESTRATOR else (EVENTS, ORCHESTRATOR)
            yield MessageType(name, topic, frozenset({reader}), {f"{step.name}:{suffix}": writer}, payload)


def message_types(rows: Sequence[StepRow]) -> dict[str, MessageType]:
    """Return the messages of a checkout with these steps, by message type."""
    orchestrator, gateway = frozenset({ORCHESTRATOR}), frozenset({GATEWAY})
    askers = {f"{step.name}:ask": step.service for step in rows if step.undo}
    types = (
        MessageType("CheckoutInitiated", EVENTS, orchestrator, {"initiated": GATEWAY}, CheckoutInitiated),
        *(row for step in rows for row in _of_step(step)),
        MessageType(OUTCOME_REQUESTED, EVENTS, orchestrator, askers, OutcomeRequested),
        MessageType("CheckoutCompleted", EVENTS, gateway, {"completed": ORCHESTRATOR}, CheckoutCompleted),
        MessageType("CheckoutFailed", EVENTS, gateway, {"failed": ORCHESTRATOR}, CheckoutFailed),
    )
    return {row.name: row for row in types}


MESSAGES = message_types(STEPS)
"""Message type to its row."""

PAYLOADS: dict[str, type[Payload]] = {name: message.payload for name, message in MESSAGES.items()}
"""Message type (`ce_type`, verbatim) to the struct of its value."""


@dataclass(frozen=True)
class Topic:
    """A topic with its `owner`, the service that parks undecodable and unknown records of it."""

    name: str
    owner: str
    types: dict[str, frozenset[str]]  # message type -> services that read it


TOPICS: dict[str, Topic] = {
    name: Topic(name, owner, {m.name: m.readers for m in MESSAGES.values() if m.topic == name})
    for name, owner in ((EVENTS, ORCHESTRATOR), *((step.topic, step.service) for step in STEPS))
}

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
