"""Lines of the log: any bytes there and back, readable where they are text."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.bus.port import UNDECODABLE, Message, MessageRefused, Record, TopicPartition
from holdfast.bus.postgres.lines import Batch, decode, encode

PLACE = TopicPartition("t", 3)
DATA = st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode(errors="replace"))
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
MESSAGES = st.builds(
    Message,
    topic=st.just("t"),
    key=DATA,
    value=st.none() | DATA,
    headers=st.lists(st.tuples(NAMES, DATA), max_size=4).map(tuple),
)


@given(st.lists(MESSAGES, min_size=1, max_size=5))
def test_any_bytes_come_back(messages: list[Message]) -> None:
    lines = encode(messages)
    assert lines.count(b"\n") == len(messages)
    assert decode(PLACE, Batch(7, 7 + len(messages), 99, lines, "inventory-write")) == [
        Record("t", 3, offset, m.key, m.value, m.headers, 99, "inventory-write")
        for offset, m in enumerate(messages, 7)
    ]


def texts(value: Any) -> Iterator[str]:
    """Yield every string in a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from texts(inner)


def test_text_is_readable() -> None:
    message = Message("t", b"k", b'{"a": 1}', (("ce_id", b"1"), ("ce_type", b"X")))
    assert json.loads(encode([message])) == {
        "k": "k",
        "v": '{"a": 1}',
        "h": {"ce_id": "1", "ce_type": "X"},
    }


@given(st.lists(MESSAGES, min_size=1, max_size=5))
def test_no_line_holds_what_postgresql_cannot_show(messages: list[Message]) -> None:
    for line in encode(messages).splitlines():
        assert not any("\0" in text for text in texts(json.loads(line)))


@pytest.mark.parametrize("name", ["with\0nul", "lone\ud800surrogate"])
def test_a_name_that_is_no_text_is_refused(name: str) -> None:
    with pytest.raises(MessageRefused):
        encode([Message("t", b"k", b"v", ((name, b"1"),))])


GOOD = b'{"k":"a","v":"b"}'
BAD_LINES = [
    b"{",
    b"",
    b"null",
    b"[]",
    b"\xff\xfe",
    b'{"k":1}',
    b'{"k":"\xff"}',
    b'{"k":"\\ud800"}',
    b'{"k64":"!"}',
    b'{"h64":[["a"]]}',
    b"{}{}",
    b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
]


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: repr(line[:20]))
def test_a_line_that_is_no_message_is_a_record_that_says_so_between_its_neighbours(line: bytes) -> None:
    records = decode(PLACE, Batch(7, 10, 99, GOOD + b"\n" + line + b"\n" + GOOD + b"\n", "order-create"))
    assert [(record.offset, record.key, record.value) for record in records] == [
        (7, b"a", b"b"),
        (8, None, line),
        (9, b"a", b"b"),
    ]
    [(name, reason)] = records[1].headers
    assert (name, records[1].source) == (UNDECODABLE, "order-create")
    assert reason


@given(
    st.binary(max_size=60) | st.lists(st.sampled_from([GOOD, *BAD_LINES[:-1]])).map(b"\n".join),
    st.integers(1, 6),
)
def test_whatever_lies_there_each_offset_is_used_at_most_once_and_the_last_one_is(
    lines: bytes, count: int
) -> None:
    offsets = [record.offset for record in decode(PLACE, Batch(7, 7 + count, 99, lines, "order-create"))]
    assert offsets == sorted(set(offsets))
    assert 7 <= offsets[0] <= offsets[-1] == 7 + count - 1


def test_a_row_that_claims_any_number_of_messages_takes_no_more_room() -> None:
    records = decode(PLACE, Batch(7, 7 + 10**15, 99, GOOD, "order-create"))
    assert [record.offset for record in records] == [7, 6 + 10**15]
