"""Reads the provider's webhooks. A signed webhook is only a hint: nothing it says is believed. Pure.

The signature is Stripe's: HMAC-SHA-256 of time and raw body, within five minutes; one valid one is enough.
"""

import hmac
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import msgspec

BODY_BYTES_MAX = 256 * 1024
TOLERANCE_S = 300
SIGNATURES_MAX = 8


class WebhookHint(NamedTuple):
    """Which saga an event is about; `kind` and `intent` come from the provider unchanged."""

    saga_id: str
    kind: str
    intent: str


class _Object(msgspec.Struct):
    id: str = ""
    payment_intent: str | None = None
    metadata: dict[str, str] = {}


class _Data(msgspec.Struct):
    object: _Object


class _Event(msgspec.Struct):
    type: str
    data: _Data


_event = msgspec.json.Decoder(_Event)


def is_signed(secret: bytes, header: str, body: bytes, now_s: float) -> bool:
    """Tell whether `Stripe-Signature` holds a valid signature whose time is neither too old nor too new."""
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit() and len(times[0]) < 12):
        return False
    if abs(now_s - int(times[0])) > TOLERANCE_S:
        return False
    expected = hmac.new(secret, times[0].encode() + b"." + body, sha256).hexdigest().encode()
    given = [value.encode() for name, _, value in parts if name == "v1"]
    return True in [hmac.compare_digest(expected, each) for each in given[:SIGNATURES_MAX]]


def hint_of(body: bytes) -> WebhookHint | None:
    """Read which saga an event is about; None if it names no saga."""
    try:
        event = _event.decode(body)
        about = event.data.object
        saga_id = str(UUID(about.metadata.get("saga_id", "")))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return WebhookHint(saga_id, event.type, about.payment_intent or about.id)
