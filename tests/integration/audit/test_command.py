"""`holdfast audit` as it is typed: exit codes, the table, one object of JSON, what it says on stderr."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from tests.books_harness import BooksHarness
from typer.testing import CliRunner, Result

from holdfast.cli import audit as command
from holdfast.cli.main import app
from holdfast.contracts.topics import ORDER, PAYMENT


@pytest.fixture
def sources(world: BooksHarness, tmp_path: Path) -> Path:
    """The world's places in a file."""
    file = tmp_path / "sources.json"
    file.write_bytes(msgspec.json.encode(world.sources, enc_hook=str))
    return file


def audit(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["audit", "--quiet-timeout", "0", *map(str, arguments)])


def test_books_that_balance_end_0(world: BooksHarness, sources: Path) -> None:
    world.completed()
    world.failed_at_order()
    result = audit("--sources", sources)
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["COMPLETED", "1"],
        ["FAILED", "1"],
        ["GBP", "7,128", "charged,", "3,564", "refunded,", "3,564", "completed"],
    ]
    assert result.stderr == "The books balance: 2 sagas, 22 queries.\n"


def test_a_violation_ends_1_and_is_named_with_its_saga(world: BooksHarness, sources: Path) -> None:
    saga = world.completed()
    world.run(ORDER, "update orders set user_id = '[red]eve'")
    result = audit("--sources", sources)
    assert result.exit_code == 1
    heads, first, *_ = result.stdout.splitlines()
    assert heads.split() == ["invariant", "saga", "what"]
    assert first.split(maxsplit=2)[:2] == ["I10", saga]
    assert "the order gives [red]eve 6 of 85123A at 255, which nobody bought" in result.stdout
    assert result.stderr == "The books do not balance: 4 violations.\n"


def test_long_lists_are_cut(world: BooksHarness, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "VIOLATIONS_SHOWN", 1)
    world.completed()
    world.run(ORDER, "update orders set user_id = 'eve'")
    result = audit("--sources", sources)
    assert result.stdout.count("I10") == 1
    assert "3 more" in result.stdout


def test_json_is_one_object_with_every_violation(world: BooksHarness, sources: Path) -> None:
    saga = world.completed()
    world.run(ORDER, "delete from orders")
    result = audit("--sources", sources, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["exit_code"]) == (1, 1)
    assert found["counts"] == {"COMPLETED": 1}
    assert found["money"] == {"GBP": {"charged": 3564, "refunded": 0, "completed": 3564}}
    assert {(each["invariant"], each["query"], each["key"]) for each in found["violations"]} == {
        ("I09", "i09_orders_counted", saga),
        ("I10", "i10_order_is_snapshot", saga),
    }


def test_an_empty_system_ends_3(sources: Path) -> None:
    result = audit("--sources", sources)
    assert (result.exit_code, result.stderr) == (3, "Nothing to check: there is no saga at all.\n")


def test_no_quiet_ends_4_with_the_reason(world: BooksHarness, sources: Path) -> None:
    world.completed()
    world.insert(PAYMENT, "outbox", count=1, batch=b"")
    result = audit("--sources", sources)
    assert result.exit_code == 4
    assert re.sub(r"of \d+ s", "of N s", result.stderr).splitlines() == [
        "Not quiet: payment-gateway's outbox holds 1 batches, the oldest of N s ago",
        "It did not get quiet in time; what must hold at any moment does.",
    ]


def test_what_it_waits_for_is_said_now_and_then(capfd: pytest.CaptureFixture[str]) -> None:
    seldom, always = command._ProgressPrinter(every_s=3600), command._ProgressPrinter(every_s=0)
    for line in ("a timer is due", "3 sagas are under way"):
        seldom(line)
    assert capfd.readouterr().err == "Waiting: a timer is due\n"
    for line in ("a timer is due", "3 sagas are under way"):
        always(line)
    assert capfd.readouterr().err == "Waiting: a timer is due\nWaiting: 3 sagas are under way\n"


def test_an_unreachable_book_ends_5(world: BooksHarness, sources: Path) -> None:
    world.ledger_path.unlink()
    result = audit("--sources", sources)
    assert result.exit_code == 5
    assert "ledger" in result.stderr


def test_no_platform_ends_3_and_a_bad_file_2(tmp_path: Path) -> None:
    nowhere = audit("--data", tmp_path)
    assert (nowhere.exit_code, "no platform is running" in nowhere.stderr) == (3, True)
    bad = audit("--sources", tmp_path / "nothing.json")
    assert (bad.exit_code, "nothing.json" in bad.stderr) == (2, True)
