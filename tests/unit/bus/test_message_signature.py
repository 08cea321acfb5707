"""A signature holds for one message of one writer; whatever is changed, it holds no more."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.bus.kafka.origin import MessageOrigin
from holdfast.bus.message_signature import HEADER, SigningKey, SigningKeys, keys_document, read_keys
from holdfast.bus.port import Headers, Message
from holdfast.contracts.topics import CART, EVENTS, ORCHESTRATOR, ORDER, ORDER_COMMANDS, dead_letters

OLD = SigningKey("order-1", ORDER, b"o" * 32)
NEW = SigningKey("order-2", ORDER, b"n" * 32)
OTHER = SigningKey("cart-1", CART, b"c" * 32)
WRITER = SigningKeys(OLD, [OLD])
READER = SigningKeys(OTHER, [OLD, NEW, OTHER])
HEADERS: Headers = (
    ("ce_id", b"s:order:done"),
    ("ce_type", b"OrderCreated"),
    ("ce_dataschema", b"OrderCreated/1"),
)
MESSAGE = Message(EVENTS, b"saga", b"{}", HEADERS)


def source(message: Message, keys: SigningKeys = READER) -> str | None:
    return keys.source_of(message.topic, message.key, message.value, message.headers)


def test_a_signed_message_is_its_writers() -> None:
    signed = WRITER.sign(MESSAGE)
    assert signed.headers[:-1] == HEADERS
    assert source(signed) == ORDER
    assert source(MESSAGE) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"topic": ORDER_COMMANDS},
        {"key": b"saga2"},
        {"value": b"{ }"},
        {"value": None},
        {"value": b""},
    ],
)
def test_a_signed_part_that_is_changed_leaves_the_record_without_a_source(changes: dict[str, Any]) -> None:
    assert source(WRITER.sign(MESSAGE)._replace(**changes)) is None


@pytest.mark.parametrize("name", ["ce_id", "ce_type", "ce_dataschema", HEADER])
@pytest.mark.parametrize("change", ["other", "missing", "a second one"])
def test_a_signed_header_that_is_changed_leaves_the_record_without_a_source(name: str, change: str) -> None:
    headers = WRITER.sign(MESSAGE).headers
    kept = tuple(header for header in headers if header[0] != name)
    forged = {
        "other": (*kept, (name, b"forged")),
        "missing": kept,
        "a second one": (*headers, (name, b"forged")),
    }
    assert source(MESSAGE._replace(headers=forged[change])) is None


def test_a_key_that_is_not_known_or_of_another_is_no_proof() -> None:
    signed = WRITER.sign(MESSAGE)
    assert source(signed, SigningKeys(OTHER, [OTHER, NEW])) is None
    impostor = SigningKeys(OTHER._replace(key_id="order-1"), [])
    assert source(impostor.sign(MESSAGE)) is None
    assert source(SigningKeys(OTHER, []).sign(MESSAGE)) == CART, "its own name, and so not the writer's"


def test_several_keys_of_one_owner_hold_at_once_so_that_they_can_be_changed() -> None:
    for own in (OLD, NEW):
        assert source(SigningKeys(own, []).sign(MESSAGE)) == ORDER


@given(
    parts=st.lists(st.none() | st.binary(max_size=4), min_size=5, max_size=5),
    others=st.lists(st.none() | st.binary(max_size=4), min_size=5, max_size=5),
)
def test_no_two_messages_have_one_signature(parts: list[bytes | None], others: list[bytes | None]) -> None:
    def made(key: bytes | None, value: bytes | None, *headers: bytes | None) -> Message:
        names = ("ce_id", "ce_type", "ce_dataschema")
        there = tuple((n, h) for n, h in zip(names, headers, strict=True) if h is not None)
        return Message(EVENTS, key or b"", value, there)

    one, two = made(*parts), made(*others)
    signature = WRITER.sign(one).headers[-1]
    found = source(two._replace(headers=(*two.headers, signature)))
    assert found == (ORDER if one == two else None)


@given(signature=st.binary(max_size=80) | st.binary(max_size=40).map(lambda b: b"order-1:" + b))
def test_a_signature_that_is_none_raises_nothing(signature: bytes) -> None:
    assert source(MESSAGE._replace(headers=(*HEADERS, (HEADER, signature)))) is None


def test_only_topics_with_several_writers_are_signed() -> None:
    origin, command = MessageOrigin(WRITER), MESSAGE._replace(topic=ORDER_COMMANDS)
    assert origin.sign(MESSAGE) == WRITER.sign(MESSAGE)
    assert origin.sign(command) == command
    assert origin.source_of(ORDER_COMMANDS, b"saga", b"{}", ()) == ORCHESTRATOR, "the ACL says so"
    assert origin.source_of(EVENTS, b"saga", b"{}", HEADERS) is None
    assert origin.source_of(dead_letters(EVENTS), b"saga", b"{}", HEADERS) is None
    assert MessageOrigin(None).source_of(EVENTS, b"saga", b"{}", WRITER.sign(MESSAGE).headers) is None
    stranger = SigningKey("x-1", "stranger", b"x" * 32)
    known = MessageOrigin(SigningKeys(stranger, [stranger]))
    assert known.source_of(EVENTS, b"saga", b"{}", SigningKeys(stranger, []).sign(MESSAGE).headers) is None


def test_a_file_of_keys_is_read_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.touch(mode=0o600)
    file.write_text(keys_document("order-2", [OLD, NEW]))
    keys = read_keys(file)
    assert keys.service == ORDER
    assert keys.sign(MESSAGE) == SigningKeys(NEW, []).sign(MESSAGE)
    assert source(WRITER.sign(MESSAGE), keys) == ORDER
