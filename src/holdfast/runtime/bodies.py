"""Reads request bodies: bounded, without card numbers, decoded strictly; a refusal names the field.

Only the form of a body is checked here; the services know what its fields mean.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

import msgspec

from holdfast.contracts.codec import Undecodable, refuse_ambiguity
from holdfast.runtime.kept_text import refuse_card_numbers
from holdfast.runtime.problems import (
    BODY_TOO_LARGE,
    INVALID_REQUEST,
    MALFORMED_JSON,
    REQUEST_TIMEOUT,
    FieldError,
    Problem,
)

BODY_BYTES_MAX = 64 * 1024
"""More than the longest valid body: 200 lines of the longest codes, with spaces and line feeds."""

BODY_WITHIN_S = 10.0

T = TypeVar("T")
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_PLACE = re.compile(r"(?s)(.*) - at `\$(.*)`")
_FIELD = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)
_SAFE_NAME = re.compile(r"[A-Za-z_]{1,40}")
_MONEY = re.compile(r"price|total|amount|currency|cost|discount")


async def read_body(
    receive: Receive, bytes_max: int = BODY_BYTES_MAX, within_s: float = BODY_WITHIN_S
) -> bytes:
    """Return the whole body; counts what arrives, because a chunked body has no length. Raises Problem.

    A client that sends too slowly is refused: it would hold one of a limited number of requests.
    """
    try:
        async with asyncio.timeout(within_s):
            return await _whole(receive, bytes_max)
    except TimeoutError:
        headers = {"Connection": "close"}
        raise Problem(REQUEST_TIMEOUT, f"send the body within {within_s:g} s", headers=headers) from None


async def _whole(receive: Receive, bytes_max: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        chunks, size = [body], len(body)
        while message.get("more_body") and size <= bytes_max:
            message = await receive()
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
        body = b"".join(chunks)
    if len(body) > bytes_max:
        raise Problem(BODY_TOO_LARGE, f"at most {bytes_max} bytes are accepted")
    if message["type"] == "http.disconnect":
        raise Problem(MALFORMED_JSON, "the client left before the body was whole")
    return body


def decode(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Decode a client's body strictly. Raises Problem: 400 if it is not JSON, 422 naming the field.

    JSON with the same key twice is refused: it is not defined which value counts (RFC 8259, 4).
    """
    refuse_card_numbers(body)
    decoded = decode_own(decoder, body)
    plain = msgspec.json.encode(decoded)
    if plain != body:
        try:
            refuse_ambiguity(body)
        except Undecodable as error:
            raise Problem(MALFORMED_JSON, error.detail) from None
    return decoded


def decode_own(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Decode a body that one of our services made, as strictly; it was searched for card numbers before."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(INVALID_REQUEST, errors=[field_error(str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(MALFORMED_JSON) from None


def field_error(text: str) -> FieldError:
    """Split the decoder's text, which holds our types and limits but no values, into pointer and detail."""
    placed = _PLACE.fullmatch(text)
    said, path = (placed[1], placed[2]) if placed else (text, "")
    pointer = path.replace("[", "/").replace("]", "").replace(".", "/")
    field = _FIELD.fullmatch(said)
    if field is None:
        return FieldError(pointer, said.replace("`", ""))
    if field[1] == "missing required":
        return FieldError(f"{pointer}/{field[2]}", "is required")
    if not _SAFE_NAME.fullmatch(field[2]):  # the client chose the name: it may hold anything
        return FieldError(pointer, "an unknown field")
    if _MONEY.search(field[2].lower()):
        return FieldError(f"{pointer}/{field[2]}", "is not accepted: prices and totals come from the server")
    return FieldError(f"{pointer}/{field[2]}", "is not a field of this request")
