"""What a provider's webhook is worth: a hint, once its signature holds. Pure; nothing it says is believed.

The signature is Stripe's: HMAC-SHA-256 over time and raw body, any of several, within five minutes.
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
    """Which saga the event speaks of; `kind` and `intent` are the provider's words."""

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
    """Tell whether one of the signatures in `Stripe-Signature` is right and not too old or too new."""
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit() and len(times[0]) < 12):
        return False
    if abs(now_s - int(times[0])) > TOLERANCE_S:
        return False
    right = hmac.new(secret, times[0].encode() + b"." + body, sha256).hexdigest().encode()
    given = [value.encode() for name, _, value in parts if name == "v1"]
    return True in [hmac.compare_digest(right, each) for each in given[:SIGNATURES_MAX]]


def hint_of(body: bytes) -> WebhookHint | None:
    """Read which saga an event is about; None where it names none of ours."""
    try:
        event = _event.decode(body)
        about = event.data.object
        saga_id = str(UUID(about.metadata.get("saga_id", "")))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return WebhookHint(saga_id, event.type, about.payment_intent or about.id)
