"""`holdfast payment list`: ids are whole on the narrowest terminal, and money has its currency's decimals."""

import io
from typing import Any

from rich.console import Console

from holdfast.cli.payment import table_of

SAGA = "01980000-0000-7000-8000-000000000001"


def shown(width: int = 80, **more: Any) -> str:
    item = {
        "saga_id": SAGA,
        "state": "RUNNING",
        "undo_requested": False,
        "amount_minor": 1_000_250,
        "currency": "GBP",
        "charge_id": "",
        "refund_id": "",
        "decline_code": "",
        "last_error": "",
        "attempts": 3,
    }
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table_of([item | more]))
    return console.export_text()


def test_the_id_is_whole() -> None:
    assert SAGA in shown(undo_requested=True, last_error="stored_http_500", charge_id="pi_" + "1" * 27)


def test_money_has_the_decimals_of_its_currency() -> None:
    words = shown().split()
    assert words[words.index("GBP") - 1] == "10,002.50"
    assert "1,000,250" in shown(currency="JPY")


def test_what_the_provider_says_is_no_markup() -> None:
    assert "[red]" in shown(width=200, last_error="[red]")
