"""What a card number is: one definition for every text that is kept, shown or logged. Pure.

A card number is 14 to 19 digits with an issuer's prefix, one of that issuer's lengths and a right check
digit. It is found in groups too, whatever parts them, in any script's digits, and spelt with escapes.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

DIGITS_MIN = 14
MASK = "*"


class Issuer(NamedTuple):
    """Card numbers that begin with a prefix from `low` to `high` and have one of `lengths` digits."""

    name: str
    low: int
    high: int
    lengths: frozenset[int]


_SIXTEEN = frozenset({16})
_LONG = frozenset(range(16, 20))

ISSUERS = (
    Issuer("Visa", 4, 4, frozenset({16, 19})),
    Issuer("Mastercard", 51, 55, _SIXTEEN),
    Issuer("Mastercard", 2221, 2720, _SIXTEEN),
    Issuer("Mir", 2200, 2204, _LONG),
    Issuer("American Express", 34, 34, frozenset({15})),
    Issuer("American Express", 37, 37, frozenset({15})),
    Issuer("Diners Club", 300, 305, frozenset(range(14, 20))),
    Issuer("Diners Club", 36, 36, frozenset(range(14, 20))),
    Issuer("Diners Club", 38, 39, frozenset(range(14, 20))),
    Issuer("JCB", 3528, 3589, _LONG),
    Issuer("Maestro and others", 50, 50, _LONG),
    Issuer("Maestro and others", 56, 58, _LONG),
    Issuer("Discover, UnionPay, Maestro, RuPay, Elo", 6, 6, _LONG),
    Issuer("UnionPay", 8110, 8171, _LONG),
)
"""After ISO/IEC 7812 and the ranges that issuers publish; docs/security.md argues what is left out."""

_LENGTHS = {
    prefix: lengths
    for prefix in (f"{number:04}" for number in range(10_000))
    if (
        lengths := frozenset[int]().union(
            *(i.lengths for i in ISSUERS if i.low <= int(prefix[: len(str(i.low))]) <= i.high)
        )
    )
}
"""Four first digits to the lengths that a card number may have that begins so."""

_SEPARATORS = "".join(map(chr, range(33))) + "\x7f-./\\_,'`|*~"
_RUN = re.compile(rf"[0-9](?:[{re.escape(_SEPARATORS)}]*+[0-9])*+")
_SEEN_FIRST = bytes(48 if 48 <= byte < 58 else 46 for byte in range(256))
_ENOUGH = b"0" * DIGITS_MIN
_GROUP = re.compile(r"[0-9]+")
_UUID = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
)
_ESCAPE = re.compile(
    r"\\+(?:u[0-9A-Fa-f]{4}(?:\\+u[0-9A-Fa-f]{4})*|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|[abfnrtv])"
    r"|(?:%[0-9A-Fa-f]{2})+"
)

_ALTERNATE = bytes.maketrans(b"0123456789", b"0246813579")
_SIGNS = "\u2212\u00b7\u2022\u2027\u2044\u2215"

Span = tuple[int, int]


def holds_card_number(text: str | bytes) -> bool:
    """Tell whether a text holds at least one card number."""
    return next(_found(_as_text(text)), None) is not None


def mask_card_numbers(text: str) -> str:
    """Return the text with every character of its card numbers replaced, what parts their digits included."""
    masked = text
    for begin, end in _found(text):
        masked = f"{masked[:begin]}{MASK * (end - begin)}{masked[end:]}"
    return masked


def mask_card_numbers_in(data: bytes) -> bytes:
    """Return bytes of any encoding without the card numbers in them; all other bytes are as they were."""
    text = _as_text(data)
    masked = mask_card_numbers(text)
    return data if masked is text else masked.encode("utf-8", "surrogateescape")


def is_card_number(digits: str) -> bool:
    """Tell whether these digits, as a whole, have an issuer's prefix and length and a right check digit."""
    return len(digits) in _LENGTHS.get(digits[:4], ()) and luhn(digits)


def luhn(digits: str) -> bool:
    """Tell whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    backwards = digits.encode()[::-1]
    return (sum(backwards[::2]) + sum(backwards[1::2].translate(_ALTERNATE)) - 48 * len(backwards)) % 10 == 0


def _as_text(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")


def _found(text: str) -> Iterator[Span]:
    """Yield where card numbers stand, none twice, in order."""
    if text.isascii() and "\\" not in text and "%" not in text:
        yield from _found_in(text)
        return
    plain, begins = _plain(text)
    for begin, end in _found_in(plain):
        yield begins[begin], begins[end]


def _found_in(plain: str) -> Iterator[Span]:
    """Search a text in ASCII. Every sequence of whole groups of a run may be a card number."""
    if _ENOUGH not in plain.encode().translate(_SEEN_FIRST, _SEPARATORS.encode()):
        return
    plain = _UUID.sub(lambda found: ":" * len(found[0]), plain)
    for run in _RUN.finditer(plain):
        if run.end() - run.start() < DIGITS_MIN:
            continue
        sequence: list[Span] = []
        for group in _GROUP.finditer(plain, run.start(), run.end()):
            if _is_free(plain, group.span()):
                sequence.append(group.span())
            else:
                yield from _found_among(plain, sequence)
                sequence = []
        yield from _found_among(plain, sequence)


def _found_among(plain: str, groups: Sequence[Span]) -> Iterator[Span]:
    """Yield the longest card number from each place where one begins, and go on behind it."""
    digits = "".join(plain[begin:end] for begin, end in groups)
    ends: dict[int, int] = {}
    length = 0
    for begin, end in groups:
        length += end - begin
        ends[length] = end
    first = behind = 0
    for begin, end in groups:
        if begin >= behind:
            for size in sorted(_LENGTHS.get(digits[first : first + 4], ()), reverse=True):
                if first + size in ends and luhn(digits[first : first + size]):
                    behind = ends[first + size]
                    yield begin, behind
                    break
        first += end - begin


def _is_free(plain: str, group: Span) -> bool:
    """Tell whether no letter touches this group: else it is part of a hash, a ULID or a word."""
    begin, end = group
    return not (plain[end : end + 1].isalpha() or plain[max(0, begin - 1) : begin].isalpha())


class _Ascii(dict[int, str]):
    """Digits of all scripts become ours, what can part them a space, all else but our letters a colon."""

    def __missing__(self, point: int) -> str:
        character = chr(point)
        digit = unicodedata.digit(character, None)
        if point < 128:
            plain = character
        elif digit is not None:
            plain = str(digit)
        else:
            kind = unicodedata.category(character)
            plain = " " if kind[0] in "ZCM" or kind in ("Pd", "Pc") or character in _SIGNS else ":"
        if len(self) < 10_000:
            self[point] = plain
        return plain


_ascii = _Ascii()


def _plain(text: str) -> tuple[str, Sequence[int]]:
    """Return the text in ASCII, and where each of its characters began; one more place is the end."""
    parts: list[str] = []
    begins: list[int] = []
    place = 0
    for escape in _ESCAPE.finditer(text):
        spelt = _spelt(escape[0])
        parts += [text[place : escape.start()], spelt]
        begins.extend(range(place, escape.start()))
        begins.extend([escape.start()] * len(spelt))
        place = escape.end()
    if not parts:
        return text.translate(_ascii), range(len(text) + 1)
    parts.append(text[place:])
    begins.extend(range(place, len(text) + 1))
    return "".join(parts).translate(_ascii), begins


def _spelt(escape: str) -> str:
    """Return what an escape of JSON, of Python's `repr` or of a URL stands for."""
    if escape.startswith("%"):
        return bytes.fromhex(escape.replace("%", "")).decode("utf-8", "replace")
    body = escape.lstrip("\\")
    if body[0] not in "uUx":
        return " "
    units = [int(unit.strip("\\"), 16) for unit in body[1:].split("u")]
    if body[0] != "u":
        return chr(units[0]) if units[0] <= 0x10FFFF else ":"
    return b"".join(unit.to_bytes(2, "big") for unit in units).decode("utf-16-be", "replace")
