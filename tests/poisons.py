"""Messages that cannot be processed: each kind once, with the reason for which it must be parked."""

from collections.abc import Callable
from typing import NamedTuple

from tests.samples import SAMPLES, saga_id

from holdfast.bus.port import Message
from holdfast.contracts.codec import encode
from holdfast.contracts.topics import MESSAGES
from holdfast.messaging.envelope import seal

KIND = "ReserveInventory"


class Poison(NamedTuple):
    """A kind of poison: how it is made from a sound message, and why it is parked."""

    name: str
    spoil: Callable[[Message], Message]
    reason: str


def sound(saga: str, kind: str = KIND) -> Message:
    """Make a message that is all right."""
    suffix, writer = next(iter(MESSAGES[kind].ids.items()))
    return seal(f"{saga}:{suffix}", kind, saga, SAMPLES[kind], writer)


def _value(name: str, value: bytes | None, reason: str) -> Poison:
    return Poison(name, lambda message: message._replace(value=value), reason)


def _edit(name: str, old: bytes, new: bytes, reason: str) -> Poison:
    def spoil(message: Message) -> Message:
        value = message.value or b""
        assert old in value, f"{name} must change something"
        return message._replace(value=value.replace(old, new, 1))

    return Poison(name, spoil, reason)


def _header(name: str, header: str, value: bytes | None, reason: str) -> Poison:
    def spoil(message: Message) -> Message:
        kept = tuple(pair for pair in message.headers if pair[0] != header)
        return message._replace(headers=kept if value is None else (*kept, (header, value)))

    return Poison(name, spoil, reason)


def _with_another_id(message: Message) -> Message:
    another = f"{message.key.decode()}:inventory:redo".encode()
    return message._replace(headers=tuple((n, another if n == "ce_id" else v) for n, v in message.headers))


_SOUND = encode(SAMPLES[KIND])
_EXTRA = b'{"extra":%s,' + _SOUND[1:]

POISONS = (
    _value("null value", None, "empty_value"),
    _value("empty value", b"", "empty_value"),
    _value("invalid UTF-8", b'{"extra":"\xff",' + _SOUND[1:], "malformed_json"),
    _value("UTF-16", _SOUND.decode().encode("utf-16"), "malformed_json"),
    _value("truncated JSON", _SOUND[:-3], "malformed_json"),
    _value("two documents", _SOUND + _SOUND, "malformed_json"),
    _value("not JSON", b"<order/>", "malformed_json"),
    _value("a number out of range", _EXTRA % b"1e400", "malformed_json"),
    _value("NaN", _EXTRA % b"NaN", "malformed_json"),
    _value("an integer of 5,000 digits", _EXTRA % (b"9" * 5_000), "malformed_json"),
    _value("depth 100,000", _EXTRA % (b"[" * 100_000 + b"]" * 100_000), "malformed_json"),
    _value("depth 40", _EXTRA % (b"[" * 40 + b"]" * 40), "too_deep"),
    _value("duplicate keys", b"{" + _SOUND[1:-1] + b"," + _SOUND[1:], "duplicate_key"),
    _value("a list", b"[]", "invalid_payload"),
    _value("a string", b'"ReserveInventory"', "invalid_payload"),
    _value("null", b"null", "invalid_payload"),
    _value("an empty object", b"{}", "invalid_payload"),
    _edit("a quantity that is text", b'"quantity":', b'"quantity":"3","was":', "invalid_payload"),
    _edit("a negative quantity", b'"quantity":', b'"quantity":-', "invalid_payload"),
    _value("another type's payload", encode(SAMPLES["PaymentProcessed"]), "invalid_payload"),
    _value("larger than any message", b'"' + b"x" * 900_001 + b'"', "too_large"),
    _header("no type", "ce_type", None, "missing_header"),
    _header("an empty type", "ce_type", b"", "missing_header"),
    _header("an unknown type", "ce_type", b"BurnInventory", "unknown_type"),
    _header("a type of another topic", "ce_type", b"ProcessPayment", "unknown_type"),
    _header("a type that is not ASCII", "ce_type", b"Reserve\xff", "invalid_header"),
    _header("a type of 1,000 bytes", "ce_type", b"R" * 1_000, "invalid_header"),
    _header("no id", "ce_id", None, "missing_header"),
    _header("an id of 10,000 bytes", "ce_id", b"i" * 10_000, "invalid_header"),
    _header("another saga's id", "ce_id", f"{saga_id(77)}:inventory:do".encode(), "wrong_saga"),
    Poison("another id of its saga", _with_another_id, "wrong_message_id"),
    _header("no source", "ce_source", None, "wrong_source"),
    _header("another source", "ce_source", b"order-create", "wrong_source"),
    _header("no version", "ce_dataschema", None, "unknown_schema"),
    _header("an unknown version", "ce_dataschema", b"ReserveInventory/999", "unknown_schema"),
    _header("a count that is none", "ce_attempt", b"-1", "invalid_header"),
    Poison("no headers at all", lambda message: message._replace(headers=()), "missing_header"),
    Poison("an empty key", lambda message: message._replace(key=b""), "invalid_key"),
    Poison("a key that is no saga", lambda message: message._replace(key=b"cart-1"), "invalid_key"),
    Poison("a key that differs", lambda message: message._replace(key=saga_id(78).encode()), "wrong_saga"),
)
