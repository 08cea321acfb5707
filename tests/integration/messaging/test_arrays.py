"""Packed arrays arrive as what they were: every type, NULLs, nothing at all."""

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.messaging.arrays import Array, register

register()
_texts = st.lists(st.none() | st.text(st.characters(exclude_characters="\x00", codec="utf-8")))
_bytes = st.lists(st.none() | st.binary())
_numbers = st.lists(st.none() | st.integers(-(2**63), 2**63 - 1))
_flags = st.lists(st.none() | st.booleans())


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(texts=_texts, blobs=_bytes, numbers=_numbers, flags=_flags)
def test_what_goes_in_comes_out(
    database: str, texts: list[str], blobs: list[bytes], numbers: list[int], flags: list[bool]
) -> None:
    values = {"t": Array(texts), "b": Array(blobs), "n": Array(numbers), "f": Array(flags)}
    statement = "select %(t)b::text[]::text[], %(b)b::text[]::bytea[], %(n)b::bigint[], %(f)b::boolean[]"
    if any(blob is not None for blob in blobs):
        statement = statement.replace("%(b)b::text[]::bytea[]", "%(b)b::bytea[]")
    for number, found in (("%(n)b::bigint[]", numbers), ("%(f)b::boolean[]", flags)):
        if not any(value is not None for value in found):
            statement = statement.replace(number, number.replace("::", "::text[]::"))
    with psycopg.connect(database) as connection:
        row = connection.execute(statement.encode(), values, prepare=True).fetchone()
    assert row == (texts, blobs, numbers, flags)


def test_an_array_of_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="float"):
        Array([1.5])
