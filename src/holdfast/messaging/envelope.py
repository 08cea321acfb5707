"""Turns payloads into bus messages and records into envelopes: CloudEvents 1.0, binary mode, in headers.

Checks identity (key, id, type, schema version) before the payload; gives every bad record its reason.
"""

from typing import NamedTuple
from uuid import UUID

from holdfast.bus.port import UNDECODABLE, Headers, Message, Record
from holdfast.contracts import codec
from holdfast.contracts.messages import SCHEMA_VERSION, Payload
from holdfast.contracts.topics import MESSAGES, TOPICS
from holdfast.messaging.message_origin import UNDECODABLE_LINE, check_id, check_payload, check_source


class Envelope(NamedTuple):
    """A record that was understood. `attempt` counts sends from 1; `record` is None for a fired timer."""

    message_id: str
    kind: str
    saga_id: str
    payload: Payload
    raw: bytes
    attempt: int
    record: Record | None


class UnreadableRecord(NamedTuple):
    """A record that can never be processed: a reason for programs, a detail for people."""

    record: Record
    reason: str
    detail: str
    message_id: str | None
    saga_id: str | None


class OtherReaders(NamedTuple):
    """A known message that another service reads."""

    record: Record


_CONSTANT: Headers = (("ce_specversion", b"1.0"), ("content-type", b"application/json"))
_SCHEMAS = {kind: f"{kind}/{SCHEMA_VERSION}".encode() for kind in MESSAGES}
_KINDS = {kind: kind.encode() for kind in MESSAGES}


def seal(
    message_id: str,
    kind: str,
    saga_id: str,
    payload: object,
    source: str,
    *,
    attempt: int = 1,
    cause: str = "",
) -> Message:
    """Make the bus message for one payload. Raises codec.TooLarge."""
    return seal_raw(message_id, kind, saga_id, codec.encode(payload), source, attempt=attempt, cause=cause)


def seal_raw(
    message_id: str, kind: str, saga_id: str, value: bytes, source: str, *, attempt: int = 1, cause: str = ""
) -> Message:
    """Make the bus message for a payload that is already encoded."""
    headers = [
        *_CONSTANT,
        ("ce_id", message_id.encode()),
        ("ce_type", _KINDS[kind]),
        ("ce_source", source.encode()),
        ("ce_dataschema", _SCHEMAS[kind]),
        ("ce_sagaid", saga_id.encode()),
    ]
    if cause:
        headers.append(("ce_causationid", cause.encode()))
    if attempt > 1:
        headers.append(("ce_attempt", str(attempt).encode()))
    return Message(MESSAGES[kind].topic, saga_id.encode(), value, tuple(headers))


def open_record(
    record: Record, reader: str, *, proven: bool = True
) -> Envelope | UnreadableRecord | OtherReaders:
    """Decode a record for `reader`. `proven`: whether the bus proves who published it.

    A bad record of no known type is parked only by its topic's owner; other readers get OtherReaders.
    """
    headers = dict(record.headers)
    topic = TOPICS[record.topic]
    if UNDECODABLE in headers:
        detail = headers[UNDECODABLE].decode("utf-8", "replace")
        bad = UnreadableRecord(record, UNDECODABLE_LINE, detail, None, _saga_of(record))
        return bad if reader == topic.owner else OtherReaders(record)
    try:
        kind = _text(headers, "ce_type")
        readers = topic.types.get(kind)
        if readers is not None and reader not in readers:
            return OtherReaders(record)
        return _open(record, headers, kind, known=readers is not None, proven=proven)
    except codec.Undecodable as error:
        if (
            reader != topic.owner
            and headers.get("ce_type", b"").decode("ascii", "replace") not in topic.types
        ):
            return OtherReaders(record)
        return UnreadableRecord(
            record, error.reason, error.detail, _lenient(headers, "ce_id"), _saga_of(record)
        )


def _open(record: Record, headers: dict[str, bytes], kind: str, *, known: bool, proven: bool) -> Envelope:
    if not known:
        raise codec.Undecodable("unknown_type", f"{kind!r} is not a type of {record.topic}")
    source = check_source(record, kind, headers.get("ce_source"), proven=proven)
    message_id = _text(headers, "ce_id")
    saga_id = _saga_of(record)
    if saga_id is None:
        raise codec.Undecodable("invalid_key", "the record's key is not a saga id")
    if not message_id.startswith(f"{saga_id}:"):
        raise codec.Undecodable("wrong_saga", f"ce_id {message_id[:80]!r} does not belong to key {saga_id}")
    check_id(kind, message_id, saga_id, source)
    if headers.get("ce_dataschema") != _SCHEMAS[kind]:
        raise codec.Undecodable("unknown_schema", _lenient(headers, "ce_dataschema") or "no ce_dataschema")
    attempt = headers.get("ce_attempt", b"1")
    if not attempt.isdigit() or len(attempt) > 9:
        raise codec.Undecodable("invalid_header", "ce_attempt is not a count")
    payload = codec.decode(kind, record.value)
    check_payload(message_id, payload)
    return Envelope(message_id, kind, saga_id, payload, record.value or b"", int(attempt), record)


def _text(headers: dict[str, bytes], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise codec.Undecodable("missing_header", f"{name} is missing")
    if len(value) > 300:
        raise codec.Undecodable("invalid_header", f"{name} is longer than 300 bytes")
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        raise codec.Undecodable("invalid_header", f"{name} is not ASCII") from None


def _lenient(headers: dict[str, bytes], name: str) -> str | None:
    value = headers.get(name)
    return value[:300].decode("ascii", "replace").replace("\x00", "?") if value else None


def _saga_of(record: Record) -> str | None:
    """Return the key as a canonical UUID, or None."""
    if record.key is None or len(record.key) != 36:
        return None
    text = record.key.decode("ascii", "replace")
    try:
        return text if str(UUID(text)) == text else None
    except ValueError:
        return None
