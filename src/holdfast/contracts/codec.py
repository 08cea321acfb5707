"""JSON in and out of payload structs: strict, bounded, canonical.

Parsing is defensive before it is typed (rule: stdlib JSON accepts NaN and keeps the last of two equal keys).
"""

import json
from math import isfinite
from typing import Any, TypeVar

import msgspec

from holdfast.contracts.messages import Payload
from holdfast.contracts.topics import MESSAGE_BYTES_MAX, PAYLOADS

DEPTH_MAX = 32

_encoder = msgspec.json.Encoder()
_decoders: dict[str, "msgspec.json.Decoder[Payload]"] = {
    kind: msgspec.json.Decoder(struct) for kind, struct in PAYLOADS.items()
}

T = TypeVar("T")


class Undecodable(Exception):
    """The bytes are not a valid payload; `reason` is a code, the text says where."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class TooLarge(Exception):
    """An encoded payload is above `MESSAGE_BYTES_MAX`."""


def encode(payload: object) -> bytes:
    """Encode canonically: equal payloads give equal bytes. Raises TooLarge."""
    value = _encoder.encode(payload)
    if len(value) > MESSAGE_BYTES_MAX:
        raise TooLarge(f"{type(payload).__name__} is {len(value)} bytes, the limit is {MESSAGE_BYTES_MAX}")
    return value


def decode(kind: str, value: bytes | None) -> Payload:
    """Decode the value of a message of type `kind`. Raises Undecodable, never anything else."""
    if not value:
        raise Undecodable("empty_value", f"{kind} has no value")
    if len(value) > MESSAGE_BYTES_MAX:
        raise Undecodable("too_large", f"{kind} is {len(value)} bytes")
    try:
        payload = _decoders[kind].decode(value)
    except KeyError:
        raise Undecodable("unknown_type", kind) from None
    except msgspec.ValidationError as error:
        raise Undecodable("invalid_payload", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable("malformed_json", str(error)[:200]) from None
    if _encoder.encode(payload) != value:  # our own writers are canonical; only others pay for the scan
        refuse_ambiguity(value)
    return payload


def decode_as(struct: type[T], value: bytes) -> T:
    """Decode bytes that this program wrote itself."""
    return msgspec.json.decode(value, type=struct)


def refuse_ambiguity(value: bytes) -> None:
    """Refuse equal keys, NaN, 1e400 and deep nesting, which a typed decoder lets pass. Raises Undecodable."""
    try:
        document = json.loads(
            value, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
    except Undecodable:
        raise
    except (ValueError, RecursionError) as error:
        raise Undecodable("malformed_json", str(error)[:200]) from None
    if _depth(document) > DEPTH_MAX:
        raise Undecodable("too_deep", f"nested deeper than {DEPTH_MAX}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Undecodable("duplicate_key", "an object holds the same key twice")
    return fields


def _no_constant(name: str) -> None:
    raise Undecodable("malformed_json", f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise Undecodable("malformed_json", "a number is out of range")
    return number


def _depth(document: Any) -> int:
    level, deepest = [document], 0
    while level:
        deepest += 1
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        level = below
    return deepest
