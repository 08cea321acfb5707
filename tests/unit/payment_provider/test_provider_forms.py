"""What is refused before anything executes, and which parameter is blamed."""

from urllib.parse import urlencode

import pytest

from holdfast.payment_provider import forms
from holdfast.payment_provider.errors import ApiError

GOOD = {"amount": "1000", "currency": "GBP", "payment_method": "pm_card_visa", "confirm": "true"}


def test_a_charge_is_read_from_a_form() -> None:
    body = urlencode(
        {**GOOD, "metadata[saga_id]": "s 1", "metadata[empty]": "", "off_session": "true"}
    ).encode()
    params = forms.charge_params(forms.parse_form(body))
    assert (params.amount, params.currency, params.payment_method) == (1000, "gbp", "pm_card_visa")
    assert params.metadata == {"saga_id": "s 1"}


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"amount": ""}, "amount", "parameter_missing"),
        ({"amount": "0"}, "amount", "parameter_invalid_integer"),
        ({"amount": "-1"}, "amount", "parameter_invalid_integer"),
        ({"amount": "1.5"}, "amount", "parameter_invalid_integer"),
        ({"amount": "1e3"}, "amount", "parameter_invalid_integer"),
        ({"amount": "\u0661"}, "amount", "parameter_invalid_integer"),
        ({"amount": "1000000000000"}, "amount", "parameter_invalid_integer"),
        ({"currency": ""}, "currency", "parameter_missing"),
        ({"currency": "pounds"}, "currency", None),
        ({"confirm": "false"}, "confirm", "parameter_invalid"),
        ({"confirm": ""}, "confirm", "parameter_missing"),
        ({"payment_method": ""}, "payment_method", "parameter_missing"),
        ({"payment_method": "pm_card_unheard"}, "payment_method", "resource_missing"),
        ({"payment_method": "pm_card_visa__unheard"}, "payment_method", "resource_missing"),
        ({"metadata[behaviour]": "unheard"}, "metadata[behaviour]", "parameter_invalid"),
        ({"metadata[long]": "x" * 501}, "metadata", None),
        ({"amout": "1"}, "amout", "parameter_unknown"),
        ({"capture_method": "manual"}, "capture_method", "parameter_unknown"),
        ({"metadata[a][b]": "1"}, "metadata[a][b]", "parameter_unknown"),
    ],
)
def test_a_bad_parameter_is_blamed(changes: dict[str, str], param: str, code: str | None) -> None:
    with pytest.raises(ApiError) as refused:
        forms.charge_params(GOOD | changes)
    assert refused.value.status == 400
    assert f'"param":"{param}"'.encode() in refused.value.body
    assert code is None or f'"code":"{code}"'.encode() in refused.value.body


def test_a_card_number_is_refused_and_not_repeated() -> None:
    with pytest.raises(ApiError) as refused:
        forms.charge_params({**GOOD, "payment_method_data[card][number]": "4242424242424242"})
    assert b"4242424242424242" not in refused.value.body


def test_the_largest_amount_is_twelve_digits() -> None:
    assert forms.charge_params({**GOOD, "amount": "999999999999"}).amount == 999_999_999_999


@pytest.mark.parametrize("body", [b"a=1&a=2", b"\xff", b"&".join(b"a%d=1" % n for n in range(101))])
def test_a_form_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        forms.parse_form(body)
    assert refused.value.status == 400


@pytest.mark.parametrize("query", ["metadata['saga_id']:'s-1'", ' metadata["saga_id"] : "s-1" '])
def test_a_search_names_a_saga(query: str) -> None:
    assert forms.saga_of({"query": query}) == "s-1"


@pytest.mark.parametrize(
    "query", ["", "status:'succeeded'", "metadata['saga_id']:''", "metadata['other']:'x'"]
)
def test_any_other_search_is_refused(query: str) -> None:
    with pytest.raises(ApiError):
        forms.saga_of({"query": query})


@pytest.mark.parametrize(("limit", "expected"), [(None, 10), ("1", 1), ("100", 100)])
def test_a_limit_is_from_one_to_a_hundred(limit: str | None, expected: int) -> None:
    assert forms.limit_of({} if limit is None else {"limit": limit}) == expected


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", ""])
def test_any_other_limit_is_refused(limit: str) -> None:
    with pytest.raises(ApiError):
        forms.limit_of({"limit": limit})
