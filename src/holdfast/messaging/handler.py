"""The port between the unit of work and a service: envelopes in, messages and parked records out.

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
    """What a batch led to. `fired`: timers to write again with the outbox row of what they sent.

    `messages` leave as they are, after the replies.
    """

    messages_to_seal: list[OutboxMessage] = field(default_factory=list)
    parked: list[ParkedEnvelope] = field(default_factory=list)
    fired: list[TimerRow] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    count: int = 0

    def park(self, envelope: Envelope, reason: str, detail: str) -> None:
        """Keep this message for an operator; the rest of the batch goes on."""
        self.parked.append(ParkedEnvelope(envelope, reason, detail))


T_contra = TypeVar("T_contra", contravariant=True)


class Handler(Protocol[T_contra]):
    """A service's reaction to a batch of messages that it reads."""

    def handle(self, tx: T_contra, envelopes: Sequence[Envelope]) -> HandlerResult:
        """Process all, in order, inside `tx`; raise only for trouble and bugs, never for a refusal."""
