"""Lines of the log: any bytes there and back, readable where they are text."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.bus.port import Message, MessageRefused, Record, TopicPartition
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
