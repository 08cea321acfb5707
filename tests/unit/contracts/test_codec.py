"""The codec takes what our writers write, and of everything else says why not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.samples import SAMPLES

from holdfast.contracts.codec import DEPTH_MAX, TooLarge, Undecodable, decode, decode_as, encode
from holdfast.contracts.messages import MINOR_MAX, InventoryReserved, OrderCreated, Refused
from holdfast.contracts.topics import MESSAGE_BYTES_MAX, PAYLOADS, TOPICS


def reason_of(kind: str, value: bytes | None) -> str:
    """Return why the value is refused."""
    with pytest.raises(Undecodable) as caught:
        decode(kind, value)
    return caught.value.reason


@pytest.mark.parametrize("kind", PAYLOADS)
def test_every_payload_comes_back_as_it_was(kind: str) -> None:
    value = encode(SAMPLES[kind])
    assert decode(kind, value) == SAMPLES[kind]
    assert decode_as(PAYLOADS[kind], value) == SAMPLES[kind]
    assert encode(decode(kind, value)) == value


def test_every_type_travels_on_a_topic_and_has_a_payload() -> None:
    assert set(PAYLOADS) == {kind for topic in TOPICS.values() for kind in topic.types} == set(SAMPLES)


MALFORMED = {
    "not JSON": b"hello",
    "cut off": b'{"pieces":1',
    "text behind": b'{"pieces":1} {}',
    "NaN": b'{"pieces":NaN}',
    "NaN in a field nobody reads": b'{"pieces":1,"x":NaN}',
    "Infinity in a field nobody reads": b'{"pieces":1,"x":-Infinity}',
    "no UTF-8": b'{"pieces":1,"\xff\xfe":1}',
    "no UTF-8 in a field nobody reads": b'{"pieces":1,"x":"\xc3\x28"}',
    "half a surrogate": b'{"pieces":1,"x":"\\ud800"}',
    "UTF-16": '{"pieces":1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"pieces":1}',
    "a comment": b'{"pieces":1/**/}',
    "a trailing comma": b'{"pieces":1,}',
    "single quotes": b"{'pieces':1}",
    "a NUL byte": b'{"pieces":1}\x00',
}


@pytest.mark.parametrize("value", MALFORMED.values(), ids=list(MALFORMED))
def test_what_is_no_json_is_refused(value: bytes) -> None:
    assert reason_of("InventoryReserved", value) == "malformed_json"


WRONG = {
    "null": b"null",
    "a list": b"[]",
    "a number": b"1",
    "a missing field": b"{}",
    "null in a field": b'{"pieces":null}',
    "a string for a number": b'{"pieces":"1"}',
    "a boolean for a number": b'{"pieces":true}',
    "a fraction": b'{"pieces":1.5}',
    "too small": b'{"pieces":0}',
    "negative": b'{"pieces":-1}',
    "a huge integer": b'{"pieces":' + b"9" * 400 + b"}",
    "an exponent": b'{"pieces":1e400}',
}


@pytest.mark.parametrize("value", WRONG.values(), ids=list(WRONG))
def test_what_is_of_another_shape_is_refused(value: bytes) -> None:
    assert reason_of("InventoryReserved", value) in {"invalid_payload", "malformed_json"}


@pytest.mark.parametrize("value", [None, b""])
def test_an_empty_value_is_refused(value: bytes | None) -> None:
    assert reason_of("CompensateOrder", value) == "empty_value"


def test_an_unknown_type_is_refused() -> None:
    assert reason_of("NoSuchKind", b"{}") == "unknown_type"


def test_equal_keys_are_refused_wherever_they_stand() -> None:
    assert reason_of("InventoryReserved", b'{"pieces":1,"pieces":2}') == "duplicate_key"
    assert reason_of("InventoryReserved", b'{"pieces":1,"x":{"y":1,"y":2}}') == "duplicate_key"


def _nested(depth: int) -> bytes:
    return b'{"pieces":1,"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_nesting_has_a_limit() -> None:
    assert decode("InventoryReserved", _nested(DEPTH_MAX)) == InventoryReserved(1)
    assert reason_of("InventoryReserved", _nested(DEPTH_MAX + 1)) == "too_deep"
    assert reason_of("InventoryReserved", _nested(400_000)) in {"malformed_json", "too_deep"}
    assert reason_of("ConfirmOrder", b'{"a":' * 100_000) == "malformed_json"


def test_integers_are_bounded_to_what_every_reader_keeps_exactly() -> None:
    fields = json.loads(encode(SAMPLES["CheckoutInitiated"]))
    for minor, good in ((MINOR_MAX, True), (MINOR_MAX + 1, False), (2**63, False), (2**64, False)):
        value = json.dumps(fields | {"total_minor": minor}).encode()
        if good:
            assert decode("CheckoutInitiated", value)
        else:
            assert reason_of("CheckoutInitiated", value) == "invalid_payload"


BOUNDS: list[dict[str, Any]] = [
    {"lines": []},
    {"lines": [{"sku": "A", "quantity": 1, "unit_price_minor": 1}] * 201},
    {"lines": [{"sku": "", "quantity": 1, "unit_price_minor": 1}]},
    {"lines": [{"sku": "A" * 65, "quantity": 1, "unit_price_minor": 1}]},
    {"lines": [{"sku": "A", "quantity": 0, "unit_price_minor": 1}]},
    {"lines": [{"sku": "A", "quantity": 100_001, "unit_price_minor": 1}]},
    {"lines": [{"sku": "A", "quantity": 1, "unit_price_minor": -1}]},
    {"currency": "gbp"},
    {"currency": "GBPX"},
    {"currency": "GBP\n"},
    {"user_id": ""},
    {"user_id": "x" * 201},
    {"not_after_ms": -1},
]


@pytest.mark.parametrize("wrong", BOUNDS, ids=str)
def test_fields_are_bounded(wrong: dict[str, Any]) -> None:
    fields = json.loads(encode(SAMPLES["CheckoutInitiated"])) | wrong
    assert reason_of("CheckoutInitiated", json.dumps(fields).encode()) == "invalid_payload"


def test_unknown_fields_are_harmless() -> None:
    grown = b'{"pieces":3,"warehouse":"north","since":{"y":2031,"big":' + b"9" * 300 + b"}}"
    assert decode("InventoryReserved", grown) == InventoryReserved(3)
    assert decode("ConfirmOrder", b'{"why":["because"]}') == SAMPLES["ConfirmOrder"]


def test_a_missing_field_with_a_default_takes_it() -> None:
    assert decode("PaymentFailed", b'{"reason":"declined"}') == Refused("declined", "")


def test_spaces_and_another_order_are_harmless() -> None:
    assert decode("PaymentFailed", b' { "detail" : "d" , "reason" : "r" } ') == Refused("r", "d")


def test_a_value_has_a_size_limit_in_both_directions() -> None:
    room = MESSAGE_BYTES_MAX - len(encode(OrderCreated("", 1, "GBP")))
    assert len(encode(OrderCreated("x" * room, 1, "GBP"))) == MESSAGE_BYTES_MAX
    with pytest.raises(TooLarge, match="OrderCreated is 900001 bytes"):
        encode(OrderCreated("x" * (room + 1), 1, "GBP"))
    assert reason_of("ConfirmOrder", b" " * MESSAGE_BYTES_MAX + b"{}") == "too_large"
    assert decode("ConfirmOrder", b" " * (MESSAGE_BYTES_MAX - 2) + b"{}") == SAMPLES["ConfirmOrder"]


@given(st.binary(max_size=200), st.sampled_from(sorted(PAYLOADS)))
def test_no_bytes_raise_anything_but_undecodable(value: bytes, kind: str) -> None:
    try:
        decode(kind, value)
    except Undecodable as refused:
        reason = refused.reason
    else:
        reason = ""
    assert reason in {"", "empty_value", "malformed_json", "invalid_payload", "duplicate_key"}


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=3)


@given(st.dictionaries(st.sampled_from(["reason", "detail", "x", "y"]), VALUES))
def test_what_is_taken_is_what_the_document_said(document: dict[str, Any]) -> None:
    value = json.dumps(document).encode()
    try:
        payload = decode("PaymentFailed", value)
    except Undecodable:
        return
    assert isinstance(payload, Refused)
    assert (payload.reason, payload.detail) == (document["reason"], document.get("detail", ""))
