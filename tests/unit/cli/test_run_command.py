"""`holdfast run` as it is typed: the order of things, what is printed, and that everything is stopped."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.cli.fake_platform import FakeData, serving
from tests.unit.local.fake_gateway import Answer, Request
from typer.testing import CliRunner, Result

from holdfast import audit
from holdfast.audit import AuditReport, SourceUnavailable, Violation
from holdfast.cli.main import app
from holdfast.local import api_client, platform
from holdfast.local.layout import DataFolder
from holdfast.local.platform import NotReady, PortTaken

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class World(FakeData):
    """A platform that only notes what was done to it, and an audit that finds what it is told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.folder = DataFolder(root)
        self.done: list[str] = []
        self.trouble: Exception | None = None
        self.books = AuditReport(0)
        self.port: int | None = None

    def make(self, data_dir: Path, *, gateway_port: int | None, say: Callable[[str], None]) -> "World":
        assert data_dir == self.root
        self.port = gateway_port
        return self

    def start(self) -> None:
        self.done.append("start")
        if isinstance(self.trouble, PortTaken):
            raise self.trouble

    def wait_ready(self, timeout_s: float) -> None:
        self.done.append("ready")
        if isinstance(self.trouble, NotReady):
            raise self.trouble

    def stop(self) -> None:
        self.done.append("stop")

    def audit(self, data_dir: Path, quiet_timeout_s: float) -> AuditReport:
        assert data_dir == self.root
        self.done.append("audit")
        return self.books

    def run(self, *options: object) -> Result:
        return CliRunner().invoke(app, ["run", "--data", str(self.root), *map(str, options)])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(api_client, "RETRY_BASE_MS", 1)
    a_world = World(tmp_path)
    monkeypatch.setattr(platform, "Platform", a_world.make)
    monkeypatch.setattr(audit, "run", a_world.audit)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests, too, may run under nohup
    with serving(a_world.fake) as url:
        a_world.url = url
        yield a_world
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_the_sample_is_replayed_the_books_are_read_and_all_is_stopped(world: World) -> None:
    result = world.run("--json")
    assert result.exit_code == 0, result.output
    assert world.done == ["start", "ready", "audit", "stop"]
    figures = json.loads(result.stdout.splitlines()[-1])
    assert figures["checkouts"] == 1_059
    assert figures["books"] == {"exit_code": 0, "violations": [], "quiet": []}
    reasons = figures["reasons"]
    assert set(reasons) == {"out_of_stock", "card_declined", "insufficient_funds"}
    assert 30 <= reasons["out_of_stock"] <= 60
    assert 30 <= reasons["card_declined"] + reasons["insufficient_funds"] <= 70
    assert figures["states"] == {"COMPLETED": 1_059 - sum(reasons.values()), "FAILED": sum(reasons.values())}
    assert len((world.root / "rejects.csv").read_text().splitlines()) == 852
    assert world.port is None


def test_the_table_ends_with_the_books(world: World) -> None:
    result = world.run("--stock", 100_000, "--decline", "0%", "--port", 9_999)
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert ["completed", "1,059"] in rows
    assert rows[-1] == ["books", "balance"]
    assert world.port == 9_999


@pytest.mark.parametrize(
    ("books", "said", "told"),
    [
        (
            AuditReport(1, [Violation("I04", "saga-x", "two charges", "i04_charged_twice")]),
            "violations: 1",
            "I04 saga-x: two charges",
        ),
        (AuditReport(3), "nothing to check", ""),
        (AuditReport(4, quiet=["2 timers are due"]), "not at rest in time", "2 timers are due"),
    ],
)
def test_books_that_do_not_balance_fail_it(world: World, books: AuditReport, said: str, told: str) -> None:
    world.books = books
    result = world.run()
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].split() == ["books", *said.split()]
    assert told in result.stderr


def test_books_that_cannot_be_read_fail_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object) -> AuditReport:
        raise SourceUnavailable("cart-crud: no answer")

    monkeypatch.setattr(audit, "run", unavailable)
    result = world.run()
    assert result.exit_code == 5
    assert "cart-crud: no answer" in result.stderr
    assert world.done[-1] == "stop"


def test_a_checkout_without_an_end_fails_it_though_the_books_balance(world: World) -> None:
    world.fake.fault = lambda request: Answer(404) if request.path == "/v1/checkouts/saga-5" else None
    result = world.run()
    assert result.exit_code == 1
    assert "REFUSED: the checkout's status answered 404" in result.stderr
    assert world.done[-1] == "stop"


def test_a_platform_that_does_not_start_is_told_in_one_line(world: World) -> None:
    world.trouble = PortTaken("port 80 is taken: choose another with --port N")
    result = world.run("--port", 80)
    assert result.exit_code == 4
    assert "port 80 is taken" in result.stderr
    assert world.done == ["start"]


def test_a_platform_that_does_not_get_ready_is_stopped(world: World) -> None:
    world.trouble = NotReady(["gateway-bff"])
    result = world.run()
    assert result.exit_code == 1
    assert "not ready: gateway-bff after 120 s; the logs are in" in result.stderr
    assert world.done == ["start", "ready", "stop"]


@pytest.mark.parametrize("ignored", [False, True])  # as a shell does for its background jobs
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_in_the_middle_stops_everything(
    world: World, number: signal.Signals, *, ignored: bool
) -> None:
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def fault(_: Request) -> None:
        if len(world.fake.requests) == 100:
            os.kill(os.getpid(), number)

    world.fake.fault = fault
    result = world.run()
    assert result.exit_code == 130
    assert result.stdout == ""
    assert world.done == ["start", "ready", "stop"]
    assert "Interrupted; nothing is left running." in result.stderr


def test_a_wrong_share_starts_nothing(world: World) -> None:
    assert world.run("--decline", "many").exit_code == 2
    assert world.done == []
