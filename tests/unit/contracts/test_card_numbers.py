"""What a card number is: every issuer's, however it is written; and what only looks like one."""

import json
import random
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.contracts.card_numbers import (
    ISSUERS,
    Issuer,
    holds_card_number,
    is_card_number,
    luhn,
    mask_card_numbers,
    mask_card_numbers_in,
)
from holdfast.messaging.ids import uuid7

VISA = "4111111111111111"
NUMBERS = (
    VISA,
    "4000000000000000006",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "6011111111111117",
    "30569309025904",
    "36227206271667",
    "3530111333300000",
    "6200000000000005",
    "6759649826438453",
    "5019717010103742",
)
"""The numbers that issuers and payment providers publish for tests."""


def checked(digits: str) -> str:
    """Return the digits with the one behind them that checks them."""
    return next(digits + last for last in "0123456789" if luhn(digits + last))


@st.composite
def cards(draw: st.DrawFn) -> str:
    issuer: Issuer = draw(st.sampled_from(ISSUERS))
    prefix = str(draw(st.integers(issuer.low, issuer.high)))
    rest = draw(st.sampled_from(sorted(issuer.lengths))) - len(prefix) - 1
    return checked(prefix + draw(st.text("0123456789", min_size=rest, max_size=rest)))


@pytest.mark.parametrize("number", NUMBERS)
def test_every_issuers_published_number_is_known(number: str) -> None:
    assert is_card_number(number)
    assert mask_card_numbers(f"card {number}, thanks") == f"card {'*' * len(number)}, thanks"


SEPARATORS = (
    *(" ", "-", ".", "/", "_", ",", "  ", " - ", "\t", "\n", "\\", "'", "|"),
    *("\u00a0", "\u2009", "\u202f", "\u3000", "\u200b", "\u2060", "\ufeff", "\u00ad", "\ufe0f"),
    *("\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212", "\ufe63", "\uff0d", "\u00b7", "\u2044"),
)
ZEROS = ("0", "\u0660", "\u06f0", "\u0966", "\uff10", "\U0001d7ce")


@given(cards(), st.sampled_from(SEPARATORS), st.sampled_from(ZEROS), st.integers(1, 8))
def test_a_number_is_known_in_any_groups_with_any_separator_in_any_scripts_digits(
    card: str, separator: str, zero: str, size: int
) -> None:
    digits = [chr(ord(zero) + int(digit)) for digit in card]
    groups = ["".join(digits[at : at + size]) for at in range(0, len(digits), size)]
    text = separator.join(groups)
    assert holds_card_number(text)
    assert mask_card_numbers(f"paid with {text}: ok") == f"paid with {'*' * len(text)}: ok"
    assert holds_card_number(f"order 7 {text} 12".encode())
    assert holds_card_number(json.dumps({"x": text}))
    assert holds_card_number(ascii(text))


@given(
    cards(),
    st.sampled_from(("", "card ", "pm_", "n=", "卡号", "x 12 ")),
    st.sampled_from(("", "!", " 34", "_x")),
)
def test_a_number_is_known_between_other_text(card: str, before: str, after: str) -> None:
    masked = mask_card_numbers(f"{before}{card}{after}")
    assert card not in masked
    assert masked.startswith(before.rstrip("0123456789 "))


@given(cards())
def test_one_wrong_digit_makes_it_none(card: str) -> None:
    assert not is_card_number(card[:-1] + str((int(card[-1]) + 1) % 10))


@pytest.mark.parametrize(
    "spelt",
    [
        r"\u0034111111111111111",
        r"4111\u00a01111\u00a01111\u00a01111",
        r"4111\n1111\n1111\n1111",
        r"4111\xa01111\xa01111\xa01111",
        r"4111\\u00a01111\\u00a01111\\u00a01111",
        r"\ud835\udfd2111111111111111",
        "%34111%201111%C2%A01111%201111",
    ],
)
def test_a_number_is_known_spelt_with_escapes(spelt: str) -> None:
    assert mask_card_numbers(f'"{spelt}" 1') == f'"{"*" * len(spelt)}" 1'


@pytest.mark.parametrize(
    "innocent",
    [
        "pm_card_visa",
        "cart-1800000000005",
        "a4111111111111111",
        "4111111111111111b",
        "411111111111",
        "41111111111111111111",
        "41111111-1111-4111-8111-111111111111",
        "0000000000000000",
        "1234567812345670",
        "2011-12-01 08:26:00.123456",
        "connection to server at 127.0.0.1, port 5432 failed",
        "checkout.inventory-command/3/1042",
        "4: 111111111111111",
        "9111111111111111111",
        "\ud800",
        "",
    ],
)
def test_what_only_looks_like_one_is_left_as_it_is(innocent: str) -> None:
    assert mask_card_numbers(innocent) == innocent


def _ulid(chance: random.Random) -> str:
    return "01" + "".join(chance.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=24))


def _ean(chance: random.Random) -> str:
    digits = "".join(chance.choices("0123456789", k=12))
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f"{digits}{-total % 10}"


ORDINARY: dict[str, Callable[[random.Random], str]] = {
    "UUIDv4": lambda chance: str(uuid.UUID(int=chance.getrandbits(128), version=4)),
    "UUIDv7": lambda chance: str(uuid7(1_800_000_000_000 + chance.getrandbits(32), chance.getrandbits(80))),
    "ULID": _ulid,
    "32 hexadecimal digits": lambda chance: f"{chance.getrandbits(128):032x}",
    "EAN-13": _ean,
    "order number": lambda chance: str(chance.randrange(10 ** chance.randint(1, 12))),
    "milliseconds": lambda chance: str(chance.randrange(10**12, 4 * 10**12)),
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_of_10_000_ordinary_ids_none_is_taken_for_a_card_number(kind: str) -> None:
    chance = random.Random(kind)
    found = [text for _ in range(10_000) if holds_card_number(text := ORDINARY[kind](chance))]
    assert found == []


def test_bytes_of_any_encoding_are_masked_and_otherwise_kept() -> None:
    data = b"\xff\x00\x80 card \xc2\xa04111\xc2\xa01111\xc2\xa01111\xc2\xa01111 \xfe"
    assert mask_card_numbers_in(data) == b"\xff\x00\x80 card \xc2\xa0" + b"*" * 19 + b" \xfe"
    assert holds_card_number(VISA.encode("utf-16-le"))
    assert mask_card_numbers_in(b"\xff\xfe") == b"\xff\xfe"


def test_two_numbers_side_by_side_are_both_masked() -> None:
    assert mask_card_numbers(f"{VISA} {VISA}-{NUMBERS[4]}") == f"{'*' * 16} {'*' * 16}-{'*' * 15}"
