"""Bodies: bounded while they arrive, free of card numbers, refused by pointer without an echo."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.contracts.test_card_numbers import cards

from holdfast.contracts.http_api import SetCart
from holdfast.runtime.bodies import (
    BODY_BYTES_MAX,
    decode,
    decode_own,
    field_error,
    read_body,
)
from holdfast.runtime.kept_text import refuse_card_numbers
from holdfast.runtime.problems import FieldError, Problem

_decoder = msgspec.json.Decoder(SetCart)


def read(*chunks: bytes, left: bool = False, limit: int = 10) -> bytes:
    """Read a body that arrives in these chunks; the client may leave before the last of them."""
    messages: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": chunk, "more_body": left or n < len(chunks)}
        for n, chunk in enumerate(chunks, 1)
    ]
    if left:
        messages.append({"type": "http.disconnect"})
    arriving = iter(messages)

    async def receive() -> MutableMapping[str, Any]:
        return next(arriving)

    return asyncio.run(read_body(receive, limit))


def code(caught: pytest.ExceptionInfo[Problem]) -> str:
    return caught.value.kind.code


def test_a_body_is_put_together_from_its_chunks() -> None:
    assert read(b"") == b""
    assert read(b"abc", b"", b"def") == b"abcdef"
    assert read(b"0123456789") == b"0123456789"


@pytest.mark.parametrize(
    "chunks", [(b"01234567890",), (b"01234", b"56789", b"0"), (b"0" * 11, b"never asked for")]
)
def test_a_body_is_refused_as_soon_as_it_is_too_long_whatever_length_it_claims(
    chunks: tuple[bytes, ...],
) -> None:
    with pytest.raises(Problem) as caught:
        read(*chunks)
    assert code(caught) == "body_too_large"


def test_half_a_body_is_no_body() -> None:
    with pytest.raises(Problem) as caught:
        read(b"{", left=True)
    assert code(caught) == "malformed_json"


def test_a_cart_of_200_long_lines_fits_however_it_is_written() -> None:
    lines = [{"sku": f"{n:064}", "quantity": 100_000} for n in range(200)]
    pretty = msgspec.json.format(msgspec.json.encode({"lines": lines}), indent=4)
    assert len(read(pretty, limit=BODY_BYTES_MAX)) < BODY_BYTES_MAX / 2


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nul", b'{"lines": NaN}', b'{"lines": [{"sku": "\xff"}]}', b'{"lines": []}{}']
)
def test_what_is_no_json_is_400(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        decode(_decoder, body)
    assert code(caught) == "malformed_json"


def test_deep_nesting_is_refused_and_kills_nothing() -> None:
    with pytest.raises(Problem) as caught:
        decode(_decoder, b'{"lines":' + b"[" * 100_000)
    assert caught.value.kind.status in (400, 422)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "Expected `int`, got `str` - at `$.lines[0].quantity`",
            ("/lines/0/quantity", "Expected int, got str"),
        ),
        ("Expected `int` >= 1 - at `$.lines[12].quantity`", ("/lines/12/quantity", "Expected int >= 1")),
        ("Expected `object`, got `array`", ("", "Expected object, got array")),
        ("Object missing required field `sku` - at `$.lines[0]`", ("/lines/0/sku", "is required")),
        ("Object contains unknown field `colour`", ("/colour", "is not a field of this request")),
        (
            "Object contains unknown field `unitPrice` - at `$.lines[3]`",
            ("/lines/3/unitPrice", "is not accepted: prices and totals come from the server"),
        ),
        ("Object contains unknown field `4111111111111111`", ("", "an unknown field")),
        (
            "Object contains unknown field `a` - at `$.x`y` - at `$.lines[3]`",
            ("/lines/3", "an unknown field"),
        ),
    ],
)
def test_the_decoders_words_become_a_pointer_and_a_sentence(text: str, error: tuple[str, str]) -> None:
    assert field_error(text) == FieldError(*error)


@given(
    cards(),
    st.sampled_from(('{"x": "%s"}', '{"x": %s}', '{"%s": 1}', '{"x": "card %s, thanks"}', '{"x": "pm_%s"}')),
)
def test_a_card_number_is_refused_wherever_it_stands_and_never_echoed(card: str, body: str) -> None:
    with pytest.raises(Problem) as caught:
        decode(_decoder, (body % card).encode())
    assert code(caught) == "card_number_refused"
    assert card not in caught.value.detail


@given(cards())
def test_one_wrong_digit_makes_it_no_card_number(card: str) -> None:
    wrong = card[:-1] + str((int(card[-1]) + 1) % 10)
    refuse_card_numbers(f'{{"x": "{wrong}"}}'.encode())


@pytest.mark.parametrize(
    "card",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111.1111.1111.1111",
        "4111_1111_1111_1111",
        "3782 822463 10005",
        "6011-1111-1111-1117",
    ],
)
def test_card_numbers_are_known_in_groups_too(card: str) -> None:
    with pytest.raises(Problem):
        refuse_card_numbers(f'"{card}"'.encode())


@pytest.mark.parametrize("first", [r"\u0034", "4"])
def test_a_card_number_is_known_however_it_is_spelt(first: str) -> None:
    with pytest.raises(Problem) as caught:
        decode(_decoder, f'{{"lines": [{{"sku": "{first}111111111111111", "quantity": 1}}]}}'.encode())
    assert code(caught) == "card_number_refused"


@pytest.mark.parametrize(
    "body",
    [
        b'{"lines": [], "lines": [{"sku": "mug", "quantity": 1}]}',
        b'{"lines": [{"sku": "mug", "quantity": 1, "quantity": 7}]}',
        b'{"lines": [{"sku": "mug", "quantity": 1, "\\u0071uantity": 7}]}',
    ],
)
def test_a_key_that_stands_twice_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        decode(_decoder, body)
    assert (code(caught), caught.value.detail) == ("malformed_json", "an object holds the same key twice")


def test_who_sends_too_slowly_is_given_up() -> None:
    async def receive() -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(Problem) as caught:
        asyncio.run(read_body(receive, within_s=0.01))
    assert (code(caught), caught.value.kind.status) == ("request_timeout", 408)


@pytest.mark.parametrize(
    "innocent",
    [
        '"pm_card_visa"',
        '"cart-1800000000000"',  # a clock in milliseconds; a tenth of them would pass the check
        '"1800000000005"',
        '"41111111-1111-4111-8111-111111111111"',
        '"a4111111111111111"',
        '"4111111111111111b"',
        '"411111111111"',
        '"41111111111111111111"',
    ],
)
def test_clocks_ids_and_other_long_numbers_are_let_pass(innocent: str) -> None:
    refuse_card_numbers(innocent.encode())


def test_our_own_services_bodies_are_not_searched_for_cards() -> None:
    body = b'{"lines": [{"sku": "4111111111111111", "quantity": 1}]}'
    assert decode_own(_decoder, body).lines[0].sku == "4111111111111111"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ('{"lines": [{"sku": "mug", "quantity": 1}, {"sku": "4111-1111-1111-1111"}]}', "/lines/1/sku"),
        ('{"reason": "paid with 4111\u00a01111\u00a01111\u00a01111"}', "/reason"),
        ('{"reason": "paid with 4111\\u00a01111\\n1111\\t1111"}', "/reason"),
        ('{"total": 4111111111111111}', "/total"),
        ('{"4111111111111111": 1}', ""),
        ('{"a": {"4111111111111111": "x"}', ""),
    ],
)
def test_the_refusal_names_the_field_and_never_what_stood_there(body: str, pointer: str) -> None:
    with pytest.raises(Problem) as caught:
        refuse_card_numbers(body.encode())
    assert code(caught) == "card_number_refused"
    assert [error.pointer for error in caught.value.errors] == ([pointer] if pointer else [])
    assert caught.value.detail.startswith(f"{pointer or 'the body'} holds what looks like a card number")
    assert "4111" not in caught.value.detail
