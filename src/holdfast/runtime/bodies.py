"""Reading request bodies: bounded, without card numbers, decoded strictly, refused by JSON pointer.

What the fields mean is the services'; here is only how a body may look.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

import msgspec

from holdfast.contracts.codec import Undecodable, refuse_ambiguity
from holdfast.runtime.problems import (
    BODY_TOO_LARGE,
    CARD_NUMBER_REFUSED,
    INVALID_REQUEST,
    MALFORMED_JSON,
    REQUEST_TIMEOUT,
    FieldError,
    Problem,
)

BODY_BYTES_MAX = 64 * 1024
"""More than 200 lines of the longest codes, written with spaces and line feeds, need."""

BODY_WITHIN_S = 10.0

T = TypeVar("T")
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_DIGITS = re.compile(
    rb"(?<![0-9A-Za-z])(?:[2-9][0-9]{12,18}"  # 0 and 1 begin no card: clocks, not cards, look like that
    rb"|[2-9][0-9]{3}([ ._-])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}"
    rb"|3[0-9]{3}([ ._-])[0-9]{6}\2[0-9]{5})(?![0-9A-Za-z])"
)
_PLACE = re.compile(r"(?s)(.*) - at `\$(.*)`")
_FIELD = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)
_SAFE_NAME = re.compile(r"[A-Za-z_]{1,40}")
_MONEY = re.compile(r"price|total|amount|currency|cost|discount")


async def read_body(
    receive: Receive, bytes_max: int = BODY_BYTES_MAX, within_s: float = BODY_WITHIN_S
) -> bytes:
    """Return the whole body; counts what arrives, because a chunked body has no length. Raises Problem.

    Who sends too slowly is given up: he would hold one of a bounded number of places.
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
        parts, size = [body], len(body)
        while message.get("more_body") and size <= bytes_max:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        body = b"".join(parts)
    if len(body) > bytes_max:
        raise Problem(BODY_TOO_LARGE, f"at most {bytes_max} bytes are accepted")
    if message["type"] == "http.disconnect":
        raise Problem(MALFORMED_JSON, "the client left before the body was whole")
    return body


def decode(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Decode a client's body strictly. Raises Problem: 400 for what is not JSON, 422 naming the field.

    JSON with a key twice is refused: which one counts is not for us to choose (RFC 8259, 4).
    """
    refuse_card_numbers(body)
    decoded = decode_own(decoder, body)
    plain = msgspec.json.encode(decoded)
    if plain != body:
        if b"\\" in body:  # escapes may spell what nobody may send
            refuse_card_numbers(plain)
        try:
            refuse_ambiguity(body)
        except Undecodable as error:
            raise Problem(MALFORMED_JSON, error.detail) from None
    return decoded


def decode_own(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Decode a body that another of our services made, as strictly; what it holds has been looked at."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(INVALID_REQUEST, errors=[field_error(str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(MALFORMED_JSON) from None


def refuse_card_numbers(body: bytes) -> None:
    """Refuse a body that holds what may be a card number: 13 to 19 digits with a right check digit (Luhn)."""
    for match in _DIGITS.finditer(body):
        if luhn(match[0].translate(None, b" ._-")):
            raise Problem(
                CARD_NUMBER_REFUSED,
                "the body holds what looks like a card number; send the provider's token instead",
            )


def mask_card_numbers(text: bytes) -> bytes:
    """Return `text` with the digits of what may be a card number made unreadable."""
    return _DIGITS.sub(lambda found: b"*" * len(found[0]), text)


def luhn(digits: bytes) -> bool:
    """Tell whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = digit - 48
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def field_error(text: str) -> FieldError:
    """Turn the decoder's text, which holds our types and limits but no values, into pointer and detail."""
    placed = _PLACE.fullmatch(text)
    said, path = (placed[1], placed[2]) if placed else (text, "")
    pointer = path.replace("[", "/").replace("]", "").replace(".", "/")
    field = _FIELD.fullmatch(said)
    if field is None:
        return FieldError(pointer, said.replace("`", ""))
    if field[1] == "missing required":
        return FieldError(f"{pointer}/{field[2]}", "is required")
    if not _SAFE_NAME.fullmatch(field[2]):  # the client chose it: it may be anything
        return FieldError(pointer, "an unknown field")
    if _MONEY.search(field[2].lower()):
        return FieldError(f"{pointer}/{field[2]}", "is not accepted: prices and totals come from the server")
    return FieldError(f"{pointer}/{field[2]}", "is not a field of this request")
