"""What a log shows of what it is given."""

import pytest

from holdfast.runtime.redaction import redact

CARD = "4111111111111111"
SAGA = "01890000-0000-7000-8000-123456789012"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"declined: {CARD}", "declined: " + "*" * 16),
        ("card 4111 1111 1111 1111!", f"card {'*' * 19}!"),
        (f"a line\n{CARD}\n", f"a line\n{'*' * 16}\n"),
        (int(CARD), "*" * 16),
        (ValueError(CARD), "*" * 16),
        ({"x": [{CARD: (CARD, 1)}]}, {"x": [{"*" * 16: ["*" * 16, 1]}]}),
        ("Authorization: Bearer abc.def-ghi, then", "Authorization: Bearer ***, then"),
        ("sent sk_test_0123abcd and whsec_99ff", "sent *** and ***"),
        ("token eyJhbGci.eyJzdWIi.c2ln-_ is old", "token *** is old"),
        ("postgresql://ada:hunter2@db:5432/x", "postgresql://ada:***@db:5432/x"),
        ("host=db password=hunter2 user=ada", "host=db password=*** user=ada"),
        ('{"cvc": "123", "n": 1}', '{"cvc": "***", "n": 1}'),
        ({"password": "hunter2", "cvv": 123}, {"password": "***", "cvv": "***"}),
    ],
)
def test_cards_and_secrets_are_hidden_wherever_they_stand(said: object, shown: object) -> None:
    assert redact(said) == shown


@pytest.mark.parametrize(
    "innocent",
    [
        SAGA,
        1_800_000_000_000,
        True,
        None,
        0.5,
        "http://127.0.0.1:8080/v1/checkouts",
        "connection to server at 127.0.0.1, port 5432 failed: user ada",
        "pm_card_visa",
        "\ud800",
    ],
)
def test_all_else_is_shown_as_it_is(innocent: object) -> None:
    assert redact(innocent) == innocent
