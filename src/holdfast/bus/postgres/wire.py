"""Statements prepared once, with parameters in PostgreSQL's binary form: a fifth of a cursor's CPU per call.

A statement names its parameters and their types, `%(topics)b::text[]`; `_TYPES` has the types it may use.
"""

import re
import struct
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

Encoder = Callable[[Any], bytes]

_PARAMETER = re.compile(r"%\((\w+)\)b::(\w+(?:\[\])?)")
_LENGTH = struct.Struct(">i")
_ARRAY = struct.Struct(">iiiii")  # dimensions, has nulls, type of the elements, their number, first index
_EMPTY_ARRAY = struct.Struct(">iii")


class Statement(NamedTuple):
    """A statement of this package's sql folder, ready to be prepared."""

    name: bytes
    text: bytes
    types: tuple[int, ...]
    parameters: tuple[tuple[str, Encoder], ...]

    def encode(self, values: dict[str, Any]) -> list[bytes]:
        return [encoder(values[name]) for name, encoder in self.parameters]


@cache
def statement(name: str) -> Statement:
    """Read the statement of this name. Raises KeyError for a type that `_TYPES` does not have."""
    types: dict[str, str] = {}

    def numbered(match: re.Match[str]) -> str:
        parameter, kind = match.groups()
        types[parameter] = kind
        return f"${list(types).index(parameter) + 1}"

    text = _PARAMETER.sub(numbered, sql_text(name))
    return Statement(
        name.encode(),
        text.encode(),
        tuple(_TYPES[kind][0] for kind in types.values()),
        tuple((parameter, _TYPES[kind][1]) for parameter, kind in types.items()),
    )


def sql_text(name: str) -> str:
    """Return the text of a statement of this package's sql folder."""
    return resources.files("holdfast.bus.postgres").joinpath("sql", f"{name}.sql").read_text()


def _array_of(element: int, encode: Encoder) -> Encoder:
    def encode_array(values: Sequence[Any]) -> bytes:
        if not values:
            return _EMPTY_ARRAY.pack(0, 0, element)
        packed = [_ARRAY.pack(1, 0, element, len(values), 1)]
        for value in values:
            data = encode(value)
            packed += _LENGTH.pack(len(data)), data
        return b"".join(packed)

    return encode_array


_int4: Encoder = struct.Struct(">i").pack
_int8: Encoder = struct.Struct(">q").pack
_TYPES: dict[str, tuple[int, Encoder]] = {  # numbers from pg_type.dat, the same in every version
    "text": (25, str.encode),
    "int4": (23, _int4),
    "int8": (20, _int8),
    "float8": (701, struct.Struct(">d").pack),
    "text[]": (1009, _array_of(25, str.encode)),
    "int4[]": (1007, _array_of(23, _int4)),
    "int8[]": (1016, _array_of(20, _int8)),
    "bytea[]": (1001, _array_of(17, bytes)),
}
