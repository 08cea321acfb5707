"""Poison, a bug and a message that kills the process, in a running platform, and what operators do then."""

import getpass
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.e2e.conftest import ENVIRONMENT, replay_histories
from tests.e2e.shopper import Operator, Shopper
from tests.eventually import eventually
from tests.kafka import LIBS
from tests.poisons import POISONS, sound
from tests.samples import saga_id

from holdfast import audit
from holdfast.bus.port import Message
from holdfast.bus.postgres.bus import PostgresBus
from holdfast.contracts.topics import INVENTORY, INVENTORY_COMMANDS, ORCHESTRATOR
from holdfast.local.kafka import LocalKafka
from holdfast.local.platform import Platform
from holdfast.local.process_table import database
from holdfast.runtime.principals import role_of

HOLDFAST = Path(sys.executable).parent / "holdfast"
FLOOD = 300
STOCK = {"pen": 1_000, "killer": 1_000, "bug": 1_000}


@pytest.fixture(scope="module")
def cures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cures")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, cures: Path) -> Iterator[Platform]:
    with spoilt(tmp_path_factory.mktemp("platform"), cures) as platform:
        yield platform


@contextmanager
def spoilt(folder: Path, cures: Path, kafka: str | None = None) -> Iterator[Platform]:
    """A platform whose inventory-write is spoilt; nothing is re-sent, so that only operators heal it."""
    environment = {
        **ENVIRONMENT,
        "PYTHONPATH": str(Path(__file__).with_name("killing")),
        "HOLDFAST_TEST_CURES": str(cures),
        "HOLDFAST_KAFKA_SESSION_TIMEOUT_MS": "3000",
        "HOLDFAST_DEADLINE_RESEND_AFTER_MS": "900000",
        "HOLDFAST_DEADLINE_BACKOFF_CAP_MS": "900000",
        "HOLDFAST_DEADLINE_PATIENCE_MS": "900000",
        "HOLDFAST_DEADLINE_PAYMENT_PATIENCE_MS": "900000",
        "HOLDFAST_DEADLINE_HORIZON_MS": "3600000",
    }
    with Platform(folder / "data", kafka=kafka, environment=environment) as platform:
        platform.wait_ready(120)
        Operator(platform.info).stock(STOCK)
        yield platform
        replay_histories(platform)


class Command:
    """`holdfast dlq` at the terminal."""

    def __init__(self, platform: Platform) -> None:
        self._data = platform.info.data

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([HOLDFAST, "dlq", *words, "--data", self._data])

    def __call__(self, *words: str, code: int = 0) -> Any:
        done = subprocess.run(
            [HOLDFAST, "dlq", *words, "--json", "--data", self._data],
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout else None


@pytest.fixture
def dlq(platform: Platform) -> Command:
    return Command(platform)


def publish(platform: Platform, messages: list[Message]) -> None:
    bus = PostgresBus(platform.postgres.dsn("bus", role_of(ORCHESTRATOR)), Path(platform.info.wakeup_folder))
    publisher = bus.publisher()
    publisher.publish(messages)
    publisher.close()
    bus.close()


def query(platform: Platform, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(platform.postgres.dsn(database(INVENTORY))) as connection:
        return connection.execute(statement.encode()).fetchall()


def parked(platform: Platform, condition: str) -> int:
    return int(query(platform, f"select count(*) from parked where {condition}")[0][0])


def assert_all_flows(platform: Platform) -> None:
    """Sagas on every partition complete."""
    shopper = Shopper(platform.info, "grace")
    for saga in [shopper.buy({"pen": 1}) for _ in range(8)]:
        assert shopper.end_of(saga)["state"] == "COMPLETED"


def test_a_message_that_kills_the_process_is_parked_and_redriven_once_the_cause_is_mended(
    platform: Platform, dlq: Command, cures: Path
) -> None:
    park_and_redrive_a_killer(platform, dlq, cures)


@pytest.mark.timeout(600)
def test_on_kafka_too_the_message_that_kills_the_process_is_parked_and_redriven(tmp_path: Path) -> None:
    with (
        LocalKafka(tmp_path / "kafka", libs=LIBS) as kafka,
        spoilt(tmp_path, tmp_path, kafka.bootstrap) as platform,
    ):
        park_and_redrive_a_killer(platform, Command(platform), tmp_path)


def park_and_redrive_a_killer(platform: Platform, dlq: Command, cures: Path) -> None:
    """Buy what kills inventory-write, see the process die until its message is parked, mend it, redrive."""
    shopper = Shopper(platform.info)
    saga = shopper.buy({"killer": 1})
    eventually(lambda: parked(platform, "reason = 'kills_the_process'") == 1, "the killer is parked", 120)
    platform.wait_ready(60)
    assert_all_flows(platform)
    [row] = dlq("list", "--failure", "kills_the_process")
    assert (row["service"], row["saga_id"], row["attempts"]) == (INVENTORY, saga, 4)
    [whole] = dlq("show", row["place"])
    assert '"killer"' in whole["value"]
    assert ["ce_type", "ReserveInventory"] in whole["headers"]
    assert shopper.look(saga)["state"] != "COMPLETED"
    (cures / "killer").touch()
    assert len(dlq("redrive", row["place"], "--reason", "mended", "--canary")["redriven"]) == 1
    assert shopper.end_of(saga)["state"] == "COMPLETED"
    assert parked(platform, "status = 'redriven' and outcome = 'processed'") == 1
    target = f"target = '{row['place']}'"
    acted = query(platform, f"select operator, action, reason from operator_actions where {target}")
    assert acted == [(getpass.getuser(), "dlq_redriven", "mended")]
    again = dlq("redrive", row["place"], "--reason", "once more")
    assert (again["redriven"], again["skipped"][0]["why"]) == ([], "redriven")


def test_a_canary_stops_when_the_same_failure_comes_back(
    platform: Platform, dlq: Command, cures: Path
) -> None:
    shopper = Shopper(platform.info)
    sagas = [shopper.buy({"bug": 1}) for _ in range(9)]
    eventually(
        lambda: parked(platform, "reason = 'handler_failed'") == 9, "the bug's messages are parked", 90
    )
    assert_all_flows(platform)
    some = ("--failure", "handler_failed", "--reason", "try")
    assert len(dlq("redrive", *some, "--dry-run")) == 9
    stopped = dlq("redrive", *some, "--canary", code=1)
    assert [len(stopped[name]) for name in ("redriven", "came_back")] == [1, 1]
    assert stopped["left"] == 8
    assert parked(platform, "reason = 'handler_failed' and status = 'parked'") == 9
    (cures / "bug").touch()
    mended = dlq("redrive", *some, "--canary")
    assert (len(mended["redriven"]), mended["came_back"], mended["left"]) == (9, [], 0)
    for saga in sagas:
        assert shopper.end_of(saga)["state"] == "COMPLETED"
    report = audit.run(Path(platform.info.data), 90)
    assert report.exit_code == 0, [str(violation) for violation in report.violations]


def test_every_kind_of_poison_is_listed_and_can_be_discarded(platform: Platform, dlq: Command) -> None:
    spoiled = [
        (poison, poison.spoil(sound(saga_id(n))))
        for n, poison in enumerate(POISONS)
        if poison.reason != "too_large"
    ]
    publish(platform, [message for _, message in spoiled])
    eventually(lambda: parked(platform, "status = 'parked'") == len(spoiled), "all is parked", 60)
    assert_all_flows(platform)
    rows = dlq("list")
    assert sorted(row["reason"] for row in rows) == sorted(poison.reason for poison, _ in spoiled)
    assert len(dlq("discard", "--topic", INVENTORY_COMMANDS, "--reason", "noise")["discarded"]) == len(rows)
    assert dlq("list") == []
    assert parked(platform, "status = 'discarded'") == len(rows)
    assert dlq("discard", "--all", "--reason", "noise")["discarded"] == []
    dlq("show", f"{INVENTORY_COMMANDS}/0/999999", code=3)
    dlq("redrive", "--reason", "says not what", code=2)


def test_f14_a_redrive_that_was_killed_half_way_is_run_again(platform: Platform, dlq: Command) -> None:
    flood = [sound(saga_id(n))._replace(value=b"{}") for n in range(FLOOD)]
    publish(platform, flood)
    eventually(lambda: parked(platform, "status = 'parked'") == FLOOD, "the flood is parked", 60)
    places = {row["place"] for row in dlq("list")}
    done = "select target from operator_actions where action = 'dlq_redriven' and reason = 'flood'"
    some = ("redrive", "--failure", "invalid_payload", "--reason", "flood", "--rate", "40")
    half_way = dlq.start(*some)
    eventually(lambda: len(query(platform, done)) >= 40, "some are redriven", 60)
    half_way.kill()
    half_way.wait()
    platform.kill(INVENTORY)
    platform.wait_ready(60)
    before = len(query(platform, done))
    assert 40 <= before < FLOOD
    again = "outcome = 'parked_again' and status = 'parked' and reason = 'invalid_payload'"
    eventually(lambda: parked(platform, again) >= before, "back", 60)
    rest = sorted(places - {row[0] for row in query(platform, done)})
    for start in range(0, len(rest), 100):
        dlq("redrive", *rest[start : start + 100], "--reason", "flood")
    targets = [row[0] for row in query(platform, done)]
    assert sorted(set(targets) & places) == sorted(places), "each was redriven"
    assert len(targets) == len(set(targets)), "and none twice"
    eventually(lambda: parked(platform, again) == FLOOD, "each came back", 60)
    assert parked(platform, "status = 'redriven' and outcome is null") == 0
    assert_all_flows(platform)
