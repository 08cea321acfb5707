"""Lists as PostgreSQL arrays in the binary format, packed in one go: every batch is sent this way.

psycopg's own dumper visits each element in Python; for a batch that costs more than the statement.
"""

from collections.abc import Sequence
from struct import Struct, pack
from typing import Any

from psycopg import adapters, pq
from psycopg.adapt import Buffer, Dumper

_HEADER = Struct("!iiIii")  # dimensions, has nulls, element type, length, lower bound
_LENGTH = Struct("!i")
_NULL = _LENGTH.pack(-1)
_TEXT, _BYTEA, _BIGINT, _BOOL = 25, 17, 20, 16
_ARRAY_OF = {_TEXT: 1009, _BYTEA: 1001, _BIGINT: 1016, _BOOL: 1000}


class Array:
    """A packed array parameter. Integers are sent as bigint; the statement casts them to its own type."""

    __slots__ = ("data", "oid")

    def __init__(self, values: Sequence[Any]) -> None:
        sample = next((value for value in values if value is not None), "")
        if isinstance(sample, str):
            element = _TEXT
            body = _variable([None if value is None else value.encode() for value in values])
        elif isinstance(sample, bytes):
            element, body = _BYTEA, _variable(values)
        elif isinstance(sample, bool):
            element, body = _BOOL, _fixed(values, "?", 1)
        elif isinstance(sample, int):
            element, body = _BIGINT, _fixed(values, "q", 8)
        else:
            raise TypeError(f"no array of {type(sample).__name__}")
        if values:
            self.data = _HEADER.pack(1, int(None in values), element, len(values), 1) + body
        else:
            self.data = _HEADER.pack(0, 0, element, 0, 0)[:12]
        self.oid = _ARRAY_OF[element]


def _variable(values: Sequence[bytes | None]) -> bytes:
    length = _LENGTH.pack
    packed: list[bytes] = []
    for value in values:
        if value is None:
            packed.append(_NULL)
        else:
            packed.append(length(len(value)))
            packed.append(value)
    return b"".join(packed)


def _fixed(values: Sequence[Any], code: str, size: int) -> bytes:
    if None in values:
        item = Struct(f"!i{code}")
        return b"".join(_NULL if value is None else item.pack(size, value) for value in values)
    flat: list[Any] = [size] * (2 * len(values))
    flat[1::2] = values
    return pack("!" + f"i{code}" * len(values), *flat)


class _ArrayDumper(Dumper):
    """Hands the packed bytes to psycopg; one dumper per element type, because a dumper has one oid."""

    format = pq.Format.BINARY

    def get_key(self, obj: Array, format: Any) -> Any:  # noqa: A002 - psycopg's name
        return (self.cls, obj.oid)

    def upgrade(self, obj: Array, format: Any) -> Dumper:  # noqa: A002
        dumper = _ArrayDumper(self.cls)
        dumper.oid = obj.oid
        return dumper

    def dump(self, obj: Array) -> Buffer | None:
        return obj.data


def register() -> None:
    """Register the dumper of `Array` with psycopg; safe to call again."""
    adapters.register_dumper(Array, _ArrayDumper)
