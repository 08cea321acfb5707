"""`holdfast replay` as it is typed: what it prints where, and its exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli.fake_platform import FakeData, serving
from tests.unit.local.fake_gateway import Answer
from typer.testing import CliRunner, Result

from holdfast.cli.main import app
from holdfast.local import api_client, info
from holdfast.local.session import SAMPLE

ORDERS = """InvoiceNo,StockCode,Quantity,UnitPrice,CustomerID
1,A,2,1.00,7
2,A,1,1.00,8
2,B,3,2.50,8
3,A,1,1.25,
C4,A,-1,1.00,7
"""


class Data(FakeData):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.orders = root / "orders.csv"
        self.orders.write_text(ORDERS)

    def replay(self, *options: object) -> Result:
        return invoke(self.orders, "--data", self.root, *options)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Data]:
    monkeypatch.setattr(api_client, "RETRY_BASE_MS", 1)
    folder = Data(tmp_path)
    monkeypatch.setattr(info, "find", folder.find)
    with serving(folder.fake) as url:
        folder.url = url
        yield folder


def figures(result: Result) -> dict[str, object]:
    last: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return last


def test_every_clean_invoice_is_replayed_and_the_figures_are_the_last_line(data: Data) -> None:
    result = data.replay("--json", "--run", "mine")
    assert result.exit_code == 0, result.output
    found = figures(result)
    measured = {name: found.pop(name) for name in ("seconds", "per_s", "p50_ms", "p99_ms")}
    assert all(isinstance(value, float) and value >= 0 for value in measured.values())
    assert found == {
        "run": "mine",
        "checkouts": 3,
        "states": {"COMPLETED": 3},
        "reasons": {},
        "retries": 0,
        "late_ms": 0.0,
        "rows": 5,
        "invoices": 3,
        "codes": 2,
        "rows_otherwise_priced": 1,
        "rejects": 1,
        "rejects_by_reason": {"cancellation": 1},
        "rejects_file": str(data.root / "rejects.csv"),
    }
    assert set(data.fake.checkouts) == {
        ("customer-7", "mine-1"),
        ("customer-8", "mine-2"),
        ("guest", "mine-3"),
    }
    assert data.fake.prices == {"A": 100, "B": 250}
    assert (data.root / "rejects.csv").read_text() == "row,invoice,code,reason\n6,C4,A,cancellation\n"
    assert result.stderr.splitlines() == [
        f"Refused rows: 1, listed in {data.root / 'rejects.csv'}",
        f"Run mine: 3 checkouts through {data.url}",
    ]


def test_a_table_shows_what_became_of_all_of_it(data: Data) -> None:
    result = data.replay("--stock", 2, "--concurrency", 1)
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["rows", "refused", "1", "1", "cancellation"] in rows
    assert ["completed", "1"] in rows
    assert ["failed", "2"] in rows
    assert ["2", "out_of_stock"] in rows
    assert data.fake.stock["B"]["initial"] == 2


def test_without_a_name_every_replay_is_a_new_run(data: Data) -> None:
    runs = {figures(data.replay("--json"))["run"] for _ in range(2)}
    assert len(runs) == 2
    assert len(data.fake.checkouts) == 6
    assert {row["sold"] for row in data.fake.stock.values()} == {8, 6}


def test_a_limit_takes_the_first_invoices_and_a_share_of_the_cards_declines(data: Data) -> None:
    result = data.replay("--json", "--limit", 2, "--decline", "100%", "--rejects", data.root / "bad.csv")
    assert result.exit_code == 0, result.output
    assert figures(result)["states"] == {"FAILED": 2}
    assert sorted(key.rpartition("-")[2] for _, key in data.fake.checkouts) == ["1", "2"]
    assert (data.root / "bad.csv").exists()


def test_a_checkout_that_does_not_end_fails_the_replay_and_is_named(data: Data) -> None:
    data.fake.fault = lambda request: Answer(503) if request.path == "/v1/checkouts/saga-1" else None
    result = data.replay("--json", "--concurrency", 1, "--patience", 0.3)
    assert result.exit_code == 1
    assert figures(result)["states"] == {"COMPLETED": 2, "UNKNOWN": 1}
    assert "2: UNKNOWN: GET /v1/checkouts/saga-1: status 503" in result.stderr


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (Answer(403, {"code": "forbidden"}), 1, "could not be loaded: the price list answered 403 forbidden"),
        (Answer(503), 5, "could not be loaded: PUT /v1/products: status 503"),
    ],
)
def test_a_catalogue_that_is_not_taken_ends_it(data: Data, answer: Answer, code: int, said: str) -> None:
    data.fake.fault = lambda _: answer
    result = data.replay("--patience", 0.1)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""


def test_a_platform_elsewhere_is_reached_by_its_address_and_key(data: Data, tmp_path: Path) -> None:
    assert data.replay("--run", "first").exit_code == 0  # loads the catalogue
    result = invoke(
        data.orders, "--url", data.url, "--token-key", data.keys.signing, "--rejects", tmp_path / "r.csv"
    )
    assert result.exit_code == 0, result.output
    assert "what is not loaded must be there already" in result.stderr
    assert len(data.fake.checkouts) == 6
    assert data.fake.count("PUT", "/v1/products") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--decline", "0.05"], "a percentage is expected"),
        (["--decline", "101%"], "a percentage is expected"),
        (["--run", "a/b"], "--run 'a/b'"),
        (["--token-key", "x"], "go with --url"),
        (["--url", "http://127.0.0.1:1"], "--url needs --token-key"),
        (["--url", "http://127.0.0.1:1", "--token-key", "none.json"], "no private signing key"),
    ],
)
def test_wrong_usage_is_one_line(data: Data, options: list[str], said: str) -> None:
    result = data.replay(*options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert data.fake.requests == []


def test_a_public_key_signs_nothing(data: Data) -> None:
    result = data.replay("--url", data.url, "--token-key", data.keys.public)
    assert result.exit_code == 2
    assert "no private signing key" in result.stderr


def test_an_address_that_is_none_is_one_line(data: Data) -> None:
    options = ("--cart-url", data.url, "--inventory-url", data.url, "--rejects", data.root / "r.csv")
    result = data.replay("--url", "gopher://x", "--token-key", data.keys.signing, *options)
    assert result.exit_code == 2
    assert "not an http address: gopher://x" in result.stderr


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 2, "the file is empty"),
        ("InvoiceNo,StockCode,Quantity,UnitPrice\n", 2, "no column CustomerID in the first line"),
        (
            "InvoiceNo,StockCode,Quantity,UnitPrice,CustomerID\nC1,A,1,1,7\n",
            3,
            "no invoice in it can be sold",
        ),
    ],
)
def test_a_file_without_orders_ends_it(data: Data, text: str, code: int, said: str) -> None:
    data.orders.write_text(text)
    result = data.replay()
    assert result.exit_code == code
    assert said in result.stderr


def test_a_rejects_file_that_cannot_be_written_is_one_line(data: Data) -> None:
    result = data.replay("--rejects", data.root)
    assert result.exit_code == 1
    assert "Is a directory" in result.stderr


def test_a_data_folder_without_a_platform_is_told(tmp_path: Path) -> None:
    result = invoke(SAMPLE, "--data", tmp_path)
    assert result.exit_code == 3
    assert "no platform is running" in result.stderr


def test_an_interrupted_replay_says_how_to_go_on(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("holdfast.local.session.ReplayStats.add", lambda _self, outcome: interrupt(outcome))
    result = data.replay("--run", "mine")
    assert result.exit_code == 130
    assert "Go on with it by --run mine" in result.stderr
