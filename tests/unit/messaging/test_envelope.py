"""Records in, messages out: what is bad says why, what is another's is left alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.origin import source_of
from tests.samples import SAGA, SAMPLES

from holdfast.bus.port import Headers, Message, Record
from holdfast.contracts.codec import TooLarge, encode
from holdfast.contracts.messages import OutcomeRequested, Refused
from holdfast.contracts.topics import (
    EVENTS,
    GATEWAY,
    INVENTORY,
    INVENTORY_COMMANDS,
    MESSAGES,
    ORCHESTRATOR,
    OUTCOME_REQUESTED,
    SERVICES,
    TOPICS,
)
from holdfast.messaging.envelope import Envelope, OtherReaders, UnreadableRecord, open_record, seal


def record_of(message: Message, **changes: Any) -> Record:
    """Return the message as it lies on a partition."""
    record = Record(message.topic, 1, 42, message.key, message.value, message.headers, 7, source_of(message))
    return record._replace(**changes)


def id_of(kind: str, saga: str = SAGA) -> str:
    """Return an id that is the message's own."""
    suffix = next(iter(MESSAGES[kind].ids))
    return f"{saga}:{suffix}" + (":1" if kind == OUTCOME_REQUESTED else "")


def sealed(kind: str, **more: Any) -> Message:
    """Return a message as its one writer seals it."""
    return seal(id_of(kind), kind, SAGA, SAMPLES[kind], next(iter(MESSAGES[kind].ids.values())), **more)


def reserve(**headers: bytes | None) -> Record:
    """Return a good ReserveInventory with some headers replaced, or (None) left out."""
    message = sealed("ReserveInventory")
    fields = dict(message.headers) | headers
    kept: Headers = tuple((name, value) for name, value in fields.items() if value is not None)
    return record_of(message, headers=kept)


@pytest.mark.parametrize("kind", sorted({kind for topic in TOPICS.values() for kind in topic.types}))
def test_every_message_comes_back_as_it_was_sealed(kind: str) -> None:
    message = sealed(kind, attempt=3, cause=f"{SAGA}:y")
    topic = TOPICS[message.topic]
    assert message.key == SAGA.encode()
    for reader in topic.types[kind]:
        record = record_of(message)
        opened = open_record(record, reader)
        assert opened == Envelope(id_of(kind), kind, SAGA, SAMPLES[kind], message.value or b"", 3, record)


def test_headers_are_cloudevents_in_binary_mode() -> None:
    headers = dict(seal("i", "CheckoutFailed", "s", SAMPLES["CheckoutFailed"], "orch", cause="c").headers)
    assert headers == {
        "ce_specversion": b"1.0",
        "content-type": b"application/json",
        "ce_id": b"i",
        "ce_type": b"CheckoutFailed",
        "ce_source": b"orch",
        "ce_dataschema": b"CheckoutFailed/1",
        "ce_sagaid": b"s",
        "ce_causationid": b"c",
    }
    again = dict(seal("i", "CheckoutFailed", "s", SAMPLES["CheckoutFailed"], "orch", attempt=2).headers)
    assert again["ce_attempt"] == b"2"
    assert "ce_causationid" not in again


BAD_HEADERS: dict[str, tuple[dict[str, bytes | None], str]] = {
    "no id": ({"ce_id": None}, "missing_header"),
    "an empty id": ({"ce_id": b""}, "missing_header"),
    "a long id": ({"ce_id": b"x" * 301}, "invalid_header"),
    "an id that is no ASCII": ({"ce_id": SAGA.encode() + b":\xff"}, "invalid_header"),
    "an id of another saga": ({"ce_id": b"00000000-0000-0000-0000-000000000000:inventory:do"}, "wrong_saga"),
    "an id that only begins alike": ({"ce_id": SAGA.encode() + b"0:inventory:do"}, "wrong_saga"),
    "an unknown schema": ({"ce_dataschema": b"ReserveInventory/2"}, "unknown_schema"),
    "no schema": ({"ce_dataschema": None}, "unknown_schema"),
    "another type's schema": ({"ce_dataschema": b"CreateOrder/1"}, "unknown_schema"),
    "an attempt that is no count": ({"ce_attempt": b"two"}, "invalid_header"),
    "an empty attempt": ({"ce_attempt": b""}, "invalid_header"),
    "a negative attempt": ({"ce_attempt": b"-1"}, "invalid_header"),
    "an endless attempt": ({"ce_attempt": b"9" * 10}, "invalid_header"),
    "no type": ({"ce_type": None}, "missing_header"),
    "a type nobody knows": ({"ce_type": b"StealInventory"}, "unknown_type"),
    "a type of another topic": ({"ce_type": b"CreateOrder"}, "unknown_type"),
    "a type that is no ASCII": ({"ce_type": "R\u00e9serve".encode()}, "invalid_header"),
}


@pytest.mark.parametrize("wrong", BAD_HEADERS)
def test_a_bad_header_gives_its_reason(wrong: str) -> None:
    headers, reason = BAD_HEADERS[wrong]
    record = reserve(**headers)
    opened = open_record(record, INVENTORY)
    assert isinstance(opened, UnreadableRecord)
    assert (opened.reason, opened.record, opened.saga_id) == (reason, record, SAGA)


BAD_KEYS = {
    "none": None,
    "empty": b"",
    "short": b"1234",
    "no uuid": b"x" * 36,
    "upper case": b"0198ABCD-0000-7000-8000-000000000001",
    "without dashes": b"019800000000700080000000000000010000",
    "braces": b"{" + SAGA.encode()[1:-1] + b"}",
    "bytes": b"\xff" * 36,
}


@pytest.mark.parametrize("attempt", [1, 7, 999_999_999])
def test_an_attempt_is_a_count(attempt: int) -> None:
    opened = open_record(reserve(ce_attempt=str(attempt).encode()), INVENTORY)
    assert isinstance(opened, Envelope)
    assert opened.attempt == attempt


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=list(BAD_KEYS))
def test_a_key_that_is_no_saga_id_is_bad(key: bytes | None) -> None:
    opened = open_record(reserve()._replace(key=key), INVENTORY)
    assert isinstance(opened, UnreadableRecord)
    assert (opened.reason, opened.saga_id) == ("invalid_key", None)
    assert opened.message_id == f"{SAGA}:inventory:do"


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "empty_value"), (b"", "empty_value"), (b"{", "malformed_json"), (b"{}", "invalid_payload")],
)
def test_a_bad_value_gives_its_reason(value: bytes | None, reason: str) -> None:
    opened = open_record(reserve()._replace(value=value), INVENTORY)
    assert isinstance(opened, UnreadableRecord)
    assert (opened.reason, opened.message_id, opened.saga_id) == (reason, f"{SAGA}:inventory:do", SAGA)


def test_what_a_bad_record_says_of_itself_can_be_stored() -> None:
    opened = open_record(reserve(ce_id=b"\x00\xff" * 400), INVENTORY)
    assert isinstance(opened, UnreadableRecord)
    assert opened.message_id is not None
    assert len(opened.message_id) <= 300
    assert "\x00" not in opened.message_id


def test_a_known_type_of_another_reader_is_not_mine_however_broken_it_is() -> None:
    message = sealed("CheckoutCompleted")
    for record in (record_of(message), record_of(message, value=b"{", key=None)):
        assert open_record(record, ORCHESTRATOR) == OtherReaders(record)
        if record.value == b"{":
            assert isinstance(open_record(record, GATEWAY), UnreadableRecord)


@pytest.mark.parametrize("kind", [b"NoSuchKind", b"", b"\xff", b"x" * 400])
def test_only_the_topics_owner_parks_what_nobody_knows(kind: bytes) -> None:
    message = sealed("CheckoutCompleted")
    headers = tuple((n, kind if n == "ce_type" else v) for n, v in message.headers)
    record = record_of(message, headers=headers)
    assert TOPICS[EVENTS].owner == ORCHESTRATOR
    assert isinstance(open_record(record, ORCHESTRATOR), UnreadableRecord)
    assert open_record(record, GATEWAY) == OtherReaders(record)


def test_a_record_without_any_header_is_the_owners_to_park() -> None:
    record = Record(EVENTS, 0, 0, None, b"\x00\x01", (), 0)
    opened = open_record(record, ORCHESTRATOR)
    assert isinstance(opened, UnreadableRecord)
    assert (opened.reason, opened.message_id, opened.saga_id) == ("missing_header", None, None)
    assert open_record(record, GATEWAY) == OtherReaders(record)


def test_a_message_above_the_limit_is_refused_when_it_is_sealed() -> None:
    with pytest.raises(TooLarge):
        seal(f"{SAGA}:x", "PaymentFailed", SAGA, Refused("no", "x" * 900_000), "test")


@pytest.mark.parametrize("kind", sorted(MESSAGES))
def test_line_37_each_message_is_taken_from_its_one_writer_alone(kind: str) -> None:
    (reader,) = MESSAGES[kind].readers
    (_, writer) = next(iter(MESSAGES[kind].ids.items()))
    message = sealed(kind)
    assert isinstance(open_record(record_of(message), reader), Envelope)
    for source in (*SERVICES, "stranger", "", None):
        if source == writer:
            continue
        opened = open_record(record_of(message, source=source), reader)
        assert isinstance(opened, UnreadableRecord), source
        assert opened.reason in ("wrong_source", "unproven_source" if source is None else "wrong_source")
    claimed = sealed(kind)._replace(headers=tuple(h for h in message.headers if h[0] != "ce_source"))
    for said in ((), (("ce_source", b"stranger"),), (("ce_source", b""),)):
        opened = open_record(record_of(message, headers=claimed.headers + said), reader)
        assert isinstance(opened, UnreadableRecord)
        assert opened.reason == "wrong_source"


@pytest.mark.parametrize("kind", sorted(MESSAGES))
def test_line_37_each_message_is_taken_under_its_one_id_alone(kind: str) -> None:
    (reader,) = MESSAGES[kind].readers
    right = id_of(kind).removeprefix(f"{SAGA}:")
    wrong = {right + ":2", right + "x", right + ":", ":" + right, right.upper(), "x", "early:undo"}
    wrong |= {id_of(other).removeprefix(f"{SAGA}:") for other in MESSAGES} - {right}
    if kind == OUTCOME_REQUESTED:
        asks = (":ask", ":ask:", ":ask:-1", ":ask:01", ":ask:1 ", ":ask:1\n", ":ask:" + "9" * 20)
        wrong |= {f"inventory{ask}" for ask in asks} | {"payment:ask:1", "cart:ask:1"}
    if kind == "CheckoutFailed":
        wrong.discard("failed")
    for suffix in sorted(wrong):
        headers = tuple(
            (n, f"{SAGA}:{suffix}".encode() if n == "ce_id" else v) for n, v in sealed(kind).headers
        )
        opened = open_record(record_of(sealed(kind), headers=headers), reader)
        assert isinstance(opened, UnreadableRecord), suffix
        assert opened.reason == "wrong_message_id", suffix


def test_line_37_a_question_names_the_step_of_its_id() -> None:
    message = sealed(OUTCOME_REQUESTED)
    value = encode(OutcomeRequested("payment"))
    opened = open_record(record_of(message, value=value), ORCHESTRATOR)
    assert isinstance(opened, UnreadableRecord)
    assert opened.reason == "wrong_message_id"


def test_a_bus_that_proves_nothing_is_believed_only_where_its_wiring_says_so() -> None:
    record = record_of(sealed("PaymentProcessed"), source=None)
    assert isinstance(open_record(record, ORCHESTRATOR), UnreadableRecord)
    assert isinstance(open_record(record, ORCHESTRATOR, proven=False), Envelope)


@given(
    key=st.none() | st.binary(max_size=40) | st.just(SAGA.encode()),
    value=st.none() | st.binary(max_size=60) | st.just(reserve().value),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["ce_id", "ce_type", "ce_dataschema", "ce_attempt", "ce_source", "other"]),
            st.binary(max_size=30) | st.sampled_from([v for _, v in reserve().headers]),
        ),
        max_size=6,
    ),
)
def test_no_record_raises(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    record = Record(INVENTORY_COMMANDS, 0, 1, key, value, tuple(headers), 0, ORCHESTRATOR)
    opened = open_record(record, INVENTORY)
    assert opened.record == record
