"""Checks who sent a message: it counts only if a service that writes its type sent it, under its one id.

The bus proves the source (`Record.source`). The header `ce_source` is checked too, but proves nothing.
"""

from holdfast.bus.port import Record
from holdfast.contracts.codec import Undecodable
from holdfast.contracts.messages import OutcomeRequested, Payload
from holdfast.contracts.topics import MESSAGES

UNPROVEN_SOURCE = "unproven_source"
WRONG_SOURCE = "wrong_source"
WRONG_MESSAGE_ID = "wrong_message_id"
CONTRADICTS_REQUEST = "contradicts_request"
"""An answer whose amount, pieces, total or version differs from what was asked."""
CONTRADICTS_END = "contradicts_end"
"""A refusal or undo of a step whose saga completed, or a success of a refused step whose saga failed."""
CONTRADICTS_RECORD = "contradicts_record"
"""A command or a final event that contradicts what its reader has written about the saga."""
UNDECODABLE_LINE = "undecodable"
"""Something on a topic that no client of ours could have published."""

REFUSALS = frozenset(
    {
        UNDECODABLE_LINE,
        UNPROVEN_SOURCE,
        WRONG_SOURCE,
        WRONG_MESSAGE_ID,
        CONTRADICTS_REQUEST,
        CONTRADICTS_END,
        CONTRADICTS_RECORD,
    }
)
"""Reasons that raise an alarm: a source sent what it may not send, or two services disagree."""


def check_source(record: Record, kind: str, claimed: bytes | None, *, proven: bool) -> str:
    """Return the service that published this record; raises Undecodable if that does not write `kind`.

    `proven`: whether the bus proves sources. If it does not, only the record's own claim is checked.
    """
    writers = MESSAGES[kind].writers
    said = (claimed or b"")[:80].decode("ascii", "backslashreplace")
    source = record.source if proven else said
    if source is None:
        raise Undecodable(UNPROVEN_SOURCE, f"nothing proves that {_any(writers)} published it")
    if source not in writers:
        raise Undecodable(WRONG_SOURCE, f"{source or 'nobody'} published it, {_any(writers)} writes it")
    if said != source:
        raise Undecodable(WRONG_SOURCE, f"ce_source says {said or 'nothing'}, {source} published it")
    return source


def check_id(kind: str, message_id: str, saga_id: str, source: str) -> None:
    """Raise Undecodable unless `source` gives exactly this id to this message of this saga."""
    if MESSAGES[kind].writer_of(message_id, saga_id) != source:
        raise Undecodable(WRONG_MESSAGE_ID, f"{message_id[:120]!r} is no id that {source} gives {kind}")


def check_payload(message_id: str, payload: Payload) -> None:
    """Raise Undecodable if an outcome request names another step than its id does."""
    if isinstance(payload, OutcomeRequested) and message_id.split(":")[1] != payload.step:
        raise Undecodable(WRONG_MESSAGE_ID, f"{message_id[:120]!r} asks for another step")


def _any(writers: frozenset[str]) -> str:
    return " or ".join(sorted(writers))
