"""How messages are encoded in a row of the log: one JSON line each, as text if it is text, else as base64.

Knows no SQL; the view `messages` reads the same lines in psql.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from holdfast.bus.port import UNDECODABLE, Message, MessageRefused, Record, TopicPartition


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    """Key, value and headers, each as text or (64) as base64; neither means None, for headers no headers.

    Headers are an object, or a list of pairs if a name repeats or a value is not text.
    """

    k: str | None = None
    v: str | None = None
    h: dict[str, str] = {}
    k64: bytes | None = None
    v64: bytes | None = None
    h64: list[tuple[str, bytes]] = []


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Line)
_NUL = b"\\u0000"  # PostgreSQL's text cannot hold it: the view could not show the line


class Batch(NamedTuple):
    """A row of the log, fetched but not decoded."""

    base_offset: int
    end_offset: int
    timestamp_ms: int
    lines: bytes
    source: str


class _RepeatedName(Exception):
    """Two headers of a message have one name."""


def encode(messages: Sequence[Message]) -> bytes:
    """Encode the messages of one row. Raises MessageRefused if the name of a header is not text."""
    try:
        lines = _encoder.encode_lines([_text_line(message) for message in messages])
        if _NUL not in lines:
            return lines
    except (UnicodeError, _RepeatedName):
        pass  # not all of it is plain text
    for message in messages:
        for name, _ in message.headers:
            if not _is_text(name.encode(errors="surrogatepass")):
                raise MessageRefused(f"the name of a header is no text: {name!r}")
    return _encoder.encode_lines([_line(message) for message in messages])


def decode(place: TopicPartition, batch: Batch) -> list[Record]:
    """Return the records of a row; a line that is no message becomes a record with the header UNDECODABLE.

    A publisher that was taken over may append any lines, fewer or more than it said. No offset is used twice,
    and the last record is at the row's last offset, so that the reader moves on.
    """
    try:
        lines = _decoder.decode_lines(batch.lines)
        if len(lines) == batch.end_offset - batch.base_offset:
            offsets = range(batch.base_offset, batch.end_offset)
            return [_record(place, *each, batch) for each in zip(offsets, lines, strict=True)]
    except (ValueError, RecursionError):
        pass
    return list(_decode_singly(place, batch))


def _decode_singly(place: TopicPartition, batch: Batch) -> Iterator[Record]:
    count = batch.end_offset - batch.base_offset
    *texts, rest = batch.lines.split(b"\n", count)
    if rest and len(texts) == count:  # more lines than messages: they belong to the last one
        texts[-1] += b"\n" + rest
    elif rest:
        texts.append(rest)
    for offset, text in enumerate(texts, batch.base_offset):
        try:
            yield _record(place, offset, _decoder.decode(text), batch)
        except (ValueError, RecursionError) as error:
            yield _undecodable(place, offset, text, str(error), batch)
    if len(texts) < count:
        reason = f"{count - len(texts)} of the row's {count} messages are missing"
        yield _undecodable(place, batch.end_offset - 1, None, reason, batch)


def _undecodable(place: TopicPartition, offset: int, text: bytes | None, reason: str, batch: Batch) -> Record:
    headers = ((UNDECODABLE, reason[:300].encode("utf-8", "replace")),)
    return Record(*place, offset, None, text, headers, batch.timestamp_ms, batch.source)


def _record(place: TopicPartition, offset: int, line: _Line, batch: Batch) -> Record:
    return Record(
        place.topic,
        place.partition,
        offset,
        line.k.encode() if line.k is not None else line.k64,
        line.v.encode() if line.v is not None else line.v64,
        tuple(zip(line.h, map(str.encode, line.h.values()), strict=True)) if line.h else tuple(line.h64),
        batch.timestamp_ms,
        batch.source,
    )


def _text_line(message: Message) -> _Line:
    _, key, value, headers = message
    by_name = {name: text.decode() for name, text in headers}
    if len(by_name) < len(headers):
        raise _RepeatedName
    return _Line(k=key.decode(), v=None if value is None else value.decode(), h=by_name)


def _line(message: Message) -> _Line:
    line = _Line()
    if _is_text(message.key):
        line.k = message.key.decode()
    else:
        line.k64 = message.key
    if message.value is not None and _is_text(message.value):
        line.v = message.value.decode()
    else:
        line.v64 = message.value
    names = {name for name, _ in message.headers}
    if len(names) == len(message.headers) and all(_is_text(text) for _, text in message.headers):
        line.h = {name: text.decode() for name, text in message.headers}
    else:
        line.h64 = list(message.headers)
    return line


def _is_text(data: bytes) -> bool:
    if b"\x00" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
