"""Webhooks: signed as the provider signs them, and nothing but a hint."""

import hmac
import json
from hashlib import sha256

import pytest
from tests.samples import SAGA

from holdfast.services.payment_gateway.webhooks import WebhookHint, hint_of, is_signed

SECRET, NOW = b"whsec_1", 1_800_000_000
BODY = json.dumps(
    {
        "type": "refund.failed",
        "data": {"object": {"id": "re_1", "payment_intent": "pi_1", "metadata": {"saga_id": SAGA}}},
    }
).encode()


def signed(body: bytes = BODY, at: int = NOW, secret: bytes = SECRET) -> str:
    return f"t={at},v1={hmac.new(secret, f'{at}.'.encode() + body, sha256).hexdigest()}"


def test_a_signature_of_the_provider_is_accepted_within_five_minutes() -> None:
    assert is_signed(SECRET, signed(), BODY, NOW)
    assert is_signed(SECRET, signed(), BODY, NOW + 300)
    assert is_signed(SECRET, f"{signed()},v1=00", BODY, NOW), "one of several is right"


@pytest.mark.parametrize(
    ("header", "body", "now"),
    [
        (signed(), BODY + b" ", NOW),
        (signed(), BODY, NOW + 301),
        (signed(), BODY, NOW - 301),
        (signed(secret=b"other"), BODY, NOW),
        ("", BODY, NOW),
        ("t=,v1=", BODY, NOW),
        (f"t={NOW},{signed()}", BODY, NOW),
        (signed().replace("v1", "v0"), BODY, NOW),
        (f"t={NOW},v1=\u00fc", BODY, NOW),
    ],
)
def test_everything_else_is_not(header: str, body: bytes, now: int) -> None:
    assert not is_signed(SECRET, header, body, now)


def test_an_event_tells_its_saga() -> None:
    assert hint_of(BODY) == WebhookHint(SAGA, "refund.failed", "pi_1")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[" * 100_000, b'{"type": "x", "data": {"object": {"metadata": {"saga_id": "7"}}}}']
)
def test_an_event_that_names_no_saga_is_no_hint(body: bytes) -> None:
    assert hint_of(body) is None
