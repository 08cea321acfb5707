"""`holdfast saga show` and `list` at 3 a.m.: how it stands, what is at stake, what to do."""

import io
from typing import Any

import pytest
from rich.console import Console
from tests.unit.services.checkout_orchestrator.orchestrator_harness import (
    PIECES,
    OrchestratorHarness,
    run_scenario,
)

from holdfast.cli.saga import _seconds
from holdfast.cli.saga_page import amount, lasting, owed_in_words, page_of, situation, table_of

SAGA = "01980000-0000-7000-8000-000000000001"
NOTHING_OWED = {"steps": [], "amount_minor": 0, "currency": "", "pieces": {}}


def page(found: Any) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(page_of(found))
    return console.export_text()


def test_a_saga_that_waits() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(1)
        harness.platform.advance(192_000)
        await harness.act(SAGA, "resume")
        harness.platform.advance(1_000)
        found = await harness.shown(SAGA)
        lines = situation(found)
        assert lines[0] == f"ada buys 2 pieces of cart cart-{SAGA} for 2.00 GBP; began 3 m 13 s ago."
        assert lines[1].startswith("Waits for the answer to ProcessPayment (sent again once); next in ")
        assert lines[2] == "It can still be cancelled: `holdfast saga cancel`."
        text = page(found)
        assert "PAYMENT_PROCESSING_PENDING" in text.splitlines()[0]
        assert "InventoryReserved" in text
        assert "INVENTORY_RESERVED > PAYMENT_PROCESSING_PENDING" in text
        assert "(silence)" in text
        assert "at 3 a.m." in text

    run_scenario(scenario)


def test_a_stalled_saga_says_what_is_owed_and_what_ends_it() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(2)
        await harness.act(SAGA, "cancel")
        with harness.platform.sagas.transaction() as tx:
            saga = tx.read_saga(SAGA)
            tx.save_sagas([saga._replace(version=saga.version + 1, stalled_ms=harness.platform.now_ms)], ())
        harness.platform.advance(7_200_000)
        lines = situation(await harness.shown(SAGA))
        assert "Undone because: cancelled_by_operator (at 3 a.m.)." in lines
        assert "Still owed: an order to cancel, 2.00 GBP to refund, 2 pieces to release." in lines
        assert any(
            line.startswith("STALLED for 2 h: it ends by itself when order and payment") for line in lines
        )
        assert "Waits for the answer to CompensatePayment (sent once); next due 1 h 59 m ago." in lines
        assert not any("can still be cancelled" in line for line in lines)

    run_scenario(scenario)


def test_a_saga_past_its_pivot_and_one_whose_deadlines_were_lost() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(3)
        lines = situation(await harness.shown(SAGA))
        assert lines[-1].startswith("The pivot was sent: it cannot be cancelled any more")
        harness.platform.sagas.tables.tables["timers"].clear()
        lines = situation(await harness.shown(SAGA))
        assert any(line.startswith("NOTHING IS AWAITED") for line in lines)

    run_scenario(scenario)


def test_sagas_that_ended() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        await harness.cancel(SAGA)
        assert situation(await harness.shown(SAGA)) == [
            "Cancelled before it was heard of; began 0 ms ago.",
            "Undone because: cancelled_by_shopper (by the shopper).",
            "It ended 0 ms ago, 0 ms after it began.",
        ]
        other = SAGA.replace("1", "2")
        harness.platform.put_cart(f"cart-{other}", PIECES)
        harness.platform.initiate(other, PIECES)
        harness.platform.settle()
        harness.platform.advance(90_061_000)
        lines = situation(await harness.shown(other))
        assert lines[-1] == "It ended 1 d 1 h ago, 0 ms after it began."
        assert "ConfirmInventory, ConfirmPayment, ConfirmOrder, CheckoutCompleted" in page(
            await harness.shown(other)
        )

    run_scenario(scenario)


def test_what_shoppers_and_operators_write_is_no_markup() -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        harness.buy(SAGA)
        harness.forward(1)
        await harness.ask(harness.olga, "POST", f"/v1/sagas/{SAGA}/cancel", {"reason": "[red]x[/red] [/]"})
        assert page(await harness.shown(SAGA)).count("[red]x[/red] [/]") == 2

    run_scenario(scenario)


def test_the_list_shows_age_reason_what_is_owed_and_for_how_long_it_is_stalled() -> None:
    owed = {"steps": ["payment"], "amount_minor": 1_234_50, "currency": "GBP", "pieces": {}}
    sagas = [
        {"saga_id": SAGA, "state": "COMPENSATING", "reason": "deadline", "started_ms": 0, "ended_ms": 0}
        | {"stalled_since_ms": 60_000, "owed": owed},
        {"saga_id": SAGA, "state": "COMPLETED", "reason": "", "started_ms": 60_000, "ended_ms": 1}
        | {"stalled_since_ms": 0, "owed": NOTHING_OWED},
    ]
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table_of(sagas, 180_000))
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert lines[1] == f"{SAGA} COMPENSATING 3 m deadline 1,234.50 GBP to refund 2 m"
    assert lines[2] == f"{SAGA} COMPLETED 2 m"
    assert lines[-1] == "2 sagas"


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (-5, "0 ms"),
        (999, "999 ms"),
        (59_999, "59 s"),
        (60_000, "1 m"),
        (3_661_000, "1 h 1 m"),
        (172_800_000, "2 d"),
    ],
)
def test_times_are_written_in_the_two_units_that_matter(ms: int, words: str) -> None:
    assert lasting(ms) == words


def test_money_has_the_decimals_of_its_currency() -> None:
    assert [amount(123_456, currency) for currency in ("GBP", "JPY", "KWD")] == [
        "1,234.56 GBP",
        "123,456 JPY",
        "123.456 KWD",
    ]
    assert owed_in_words(NOTHING_OWED) == ""


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7_200), ("1d", 86_400)])
def test_ages_are_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-1m", "1w", "1.5h"])
def test_other_ages_are_refused(text: str) -> None:
    with pytest.raises(Exception, match="a number and a unit"):
        _seconds(text)
