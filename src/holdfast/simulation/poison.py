"""Records that cannot be processed, as a world meets them: who must park each of them, and why.

Some cannot be read. One can, but a row of its saga is one for which no rule was written: the handler raises.
"""

from typing import NamedTuple, cast

from holdfast.bus.port import Message
from holdfast.contracts.codec import encode
from holdfast.contracts.messages import Nothing
from holdfast.contracts.topics import INVENTORY, ORDER, PAYMENT, READS, SERVICES, TOPICS
from holdfast.messaging.envelope import seal_raw
from holdfast.messaging.fence import FenceState
from holdfast.messaging.participant import StepMessages
from holdfast.services.inventory_write.handlers import MESSAGES as INVENTORY_MESSAGES
from holdfast.services.order_create.handlers import MESSAGES as ORDER_MESSAGES
from holdfast.services.payment_gateway.handlers import MESSAGES as PAYMENT_MESSAGES

SHAPES = {
    "json": "malformed_json",
    "type": "unknown_type",
    "key": "invalid_key",
    "saga": "wrong_saga",
    "schema": "unknown_schema",
}
"""What is wrong with a record to the reason for which it must be parked."""

POISONS = tuple(f"{service}+{shape}" for service in SERVICES for shape in SHAPES)

STEPS: dict[str, StepMessages] = {
    INVENTORY: INVENTORY_MESSAGES,
    PAYMENT: PAYMENT_MESSAGES,
    ORDER: ORDER_MESSAGES,
}
"""Participants whose handlers can be made to raise by an undo."""

NO_STATE = cast("FenceState", "NO_SUCH_STATE")
"""Of a fence row, for which the table of the fence has no line."""

HANDLER_FAILED = "handler_failed"


class Doom(NamedTuple):
    """A record that must be parked: by this service, for this reason."""

    service: str
    reason: str
    message_id: str


def poison(service: str, shape: str, saga_id: str) -> tuple[Message, Doom]:
    """Make a record that `service` would read if it could, on the lane of `saga_id`."""
    topic = TOPICS[READS[service][0]]
    kind = next(kind for kind, readers in topic.types.items() if service in readers)
    message_id = f"{saga_id}:poison"
    sound = seal_raw(message_id, kind, saga_id, b"{}", "nobody")
    doom = Doom(topic.owner if shape == "type" else service, SHAPES[shape], message_id)
    match shape:
        case "json":
            return sound._replace(value=b'{"quantity": '), doom
        case "type":
            return _with_header(sound, "ce_type", b"NobodyKnows"), doom
        case "key":
            return sound._replace(key=b"\xffnot-a-saga"), doom
        case "saga":
            return _with_header(sound, "ce_id", b"another:poison"), doom._replace(message_id="another:poison")
        case _:
            return _with_header(sound, "ce_dataschema", f"{kind}/0".encode()), doom


def cursed(service: str, saga_id: str) -> tuple[Message, Doom]:
    """Make a sound command of a saga whose fence row at `service` is in no state that there is."""
    messages = STEPS[service]
    message_id = f"{saga_id}:{messages.step}:cursed"
    message = seal_raw(message_id, messages.undo, saga_id, encode(Nothing()), "nobody")
    return message, Doom(service, HANDLER_FAILED, message_id)


def _with_header(message: Message, name: str, value: bytes) -> Message:
    headers = tuple((key, value if key == name else there) for key, there in message.headers)
    return message._replace(headers=headers)
