"""Records that cannot be processed: which service must park each of them, and for which reason.

Some cannot be read, some are forged. One can be read, but its fence row is in an unknown state: the
handler raises.
"""

from typing import NamedTuple, cast

from holdfast.bus.port import Message
from holdfast.contracts.codec import encode
from holdfast.contracts.messages import EmptyPayload
from holdfast.contracts.steps import STEPS
from holdfast.contracts.topics import (
    MESSAGES,
    ORCHESTRATOR,
    READS,
    SERVICES,
    TOPICS,
)
from holdfast.messaging.envelope import seal_raw
from holdfast.messaging.fence import FenceState
from holdfast.messaging.message_origin import UNPROVEN_SOURCE, WRONG_MESSAGE_ID, WRONG_SOURCE

SHAPES = {
    "json": "malformed_json",
    "type": "unknown_type",
    "key": "invalid_key",
    "saga": "wrong_saga",
    "schema": "unknown_schema",
    "source": WRONG_SOURCE,
    "unproven": UNPROVEN_SOURCE,
    "claim": WRONG_SOURCE,
    "id": WRONG_MESSAGE_ID,
}
"""What is wrong with a record, and the reason for which it must be parked."""

POISONS = tuple(f"{service}+{shape}" for service in SERVICES for shape in SHAPES)

UNDOABLE = {row.service: row.messages for row in STEPS if row.undo}
"""Participants whose handlers can be made to raise by an undo."""

NO_STATE = cast("FenceState", "NO_SUCH_STATE")
"""The state of a fence row that the fence's table does not know."""

HANDLER_FAILED = "handler_failed"


class ExpectedPark(NamedTuple):
    """A record that must be parked: by this service, for this reason."""

    service: str
    reason: str
    message_id: str


class Poison(NamedTuple):
    """A record, the service that publishes it (None: no proven source), and how it must be parked."""

    message: Message
    source: str | None
    expected: ExpectedPark


def poison(service: str, shape: str, saga_id: str) -> Poison:
    """Make a record of this shape on a topic that `service` reads, about `saga_id`."""
    topic = TOPICS[READS[service][0]]
    kind = next(kind for kind, readers in topic.types.items() if service in readers)
    suffix, writer = next(iter(MESSAGES[kind].ids.items()))
    message_id = f"{saga_id}:{suffix}"
    sound = seal_raw(message_id, kind, saga_id, encode(EmptyPayload()), writer)
    expected = ExpectedPark(topic.owner if shape == "type" else service, SHAPES[shape], message_id)
    message, expected = _spoiled(sound, shape, expected)
    forger = next(other for other in SERVICES if other not in MESSAGES[kind].writers)
    return Poison(message, {"source": forger, "unproven": None}.get(shape, writer), expected)


def _spoiled(sound: Message, shape: str, expected: ExpectedPark) -> tuple[Message, ExpectedPark]:
    """Return the record with what is wrong with it, and how it must be parked."""
    match shape:
        case "json":
            return sound._replace(value=b'{"quantity": '), expected
        case "type":
            return _with_header(sound, "ce_type", b"NobodyKnows"), expected
        case "key":
            return sound._replace(key=b"\xffnot-a-saga"), expected
        case "saga":
            other = "another:poison"
            return _with_header(sound, "ce_id", other.encode()), expected._replace(message_id=other)
        case "schema":
            return _with_header(sound, "ce_dataschema", b"Nothing/0"), expected
        case "claim":
            return _with_header(sound, "ce_source", b"nobody"), expected
        case "id":
            forged = f"{expected.message_id}:once-more"
            return _with_header(sound, "ce_id", forged.encode()), expected._replace(message_id=forged)
        case _:
            return sound, expected


def raising_command(service: str, saga_id: str) -> Poison:
    """Make a sound undo command of a saga whose fence row at `service` is in an unknown state."""
    messages = UNDOABLE[service]
    message_id = f"{saga_id}:{messages.step}:undo"
    message = seal_raw(message_id, messages.undo, saga_id, encode(EmptyPayload()), ORCHESTRATOR)
    return Poison(message, ORCHESTRATOR, ExpectedPark(service, HANDLER_FAILED, message_id))


def _with_header(message: Message, name: str, value: bytes) -> Message:
    headers = tuple((key, value if key == name else old) for key, old in message.headers)
    return message._replace(headers=headers)
