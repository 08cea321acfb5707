"""The port between the batch processor and a service: envelopes in, messages and parked records out.

A handler writes through the transaction it is given and never commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from holdfast.bus.port import Message
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.store import TimerRow


class OutboxMessage(NamedTuple):
    """A message to append to the outbox, already encoded. `attempt` counts sends from 1."""

    message_id: str
    kind: str
    saga_id: str
    value: bytes
    cause: str = ""
    attempt: int = 1


class ParkedEnvelope(NamedTuple):
    envelope: Envelope
    reason: str
    detail: str


@dataclass
class HandlerResult:
    """The result of a batch. `fired`: timers to write again, with the id of the outbox row of their messages.

    `messages` are sent as they are, after `messages_to_seal`.
    """

    messages_to_seal: list[OutboxMessage] = field(default_factory=list)
    parked: list[ParkedEnvelope] = field(default_factory=list)
    fired: list[TimerRow] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    count: int = 0

    def park(self, envelope: Envelope, reason: str, detail: str) -> None:
        """Park this message for an operator; the rest of the batch is still processed."""
        self.parked.append(ParkedEnvelope(envelope, reason, detail))


T_contra = TypeVar("T_contra", contravariant=True)


class Handler(Protocol[T_contra]):
    """What a service does with a batch of messages that it reads."""

    def handle(self, tx: T_contra, envelopes: Sequence[Envelope]) -> HandlerResult:
        """Process all, in order, inside `tx`; raise only for transient failures and bugs, never to refuse."""
