"""Who may say what: a message counts only if the one service that writes it said it, under its one id.

The bus proves the source (`Record.source`); what the header `ce_source` says is checked too, and is no proof.
"""

from holdfast.bus.port import Record
from holdfast.contracts.codec import Undecodable
from holdfast.contracts.messages import OutcomeRequested, Payload
from holdfast.contracts.topics import MESSAGES

UNPROVEN_SOURCE = "unproven_source"
WRONG_SOURCE = "wrong_source"
WRONG_MESSAGE_ID = "wrong_message_id"
CONTRADICTS_REQUEST = "contradicts_request"
"""An answer whose amount, pieces, total or version is not what was asked."""
CONTRADICTS_END = "contradicts_end"
"""A refusal of a step whose saga completed, or a success of one that refused and whose saga failed."""
CONTRADICTS_RECORD = "contradicts_record"
"""A command or an end that contradicts what its reader has written about the saga."""

REFUSALS = frozenset(
    {
        UNPROVEN_SOURCE,
        WRONG_SOURCE,
        WRONG_MESSAGE_ID,
        CONTRADICTS_REQUEST,
        CONTRADICTS_END,
        CONTRADICTS_RECORD,
    }
)
"""Reasons that raise an alarm: somebody says what is not theirs to say, or two services disagree."""


def check_source(record: Record, kind: str, claimed: bytes | None, *, proven: bool) -> str:
    """Return the service that published this record; raises Undecodable if it is not one that writes `kind`.

    `proven`: whether the bus proves sources. If it does not, only what the record claims can be looked at.
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
    """Raise Undecodable unless this is exactly the id that `source` gives this message of this saga."""
    if MESSAGES[kind].writer_of(message_id, saga_id) != source:
        raise Undecodable(WRONG_MESSAGE_ID, f"{message_id[:120]!r} is no id that {source} gives {kind}")


def check_payload(message_id: str, payload: Payload) -> None:
    """Raise Undecodable if a question names another step than its id does."""
    if isinstance(payload, OutcomeRequested) and message_id.split(":")[1] != payload.step:
        raise Undecodable(WRONG_MESSAGE_ID, f"{message_id[:120]!r} asks for another step")


def _any(writers: frozenset[str]) -> str:
    return " or ".join(sorted(writers))
