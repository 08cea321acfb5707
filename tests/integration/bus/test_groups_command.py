"""`holdfast bus groups | forget` as it is typed, on a real bus."""

import getpass
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from tests.open_bus import OpenBus
from typer.testing import CliRunner, Result

from holdfast.bus.port import Message
from holdfast.bus.postgres.bus import PostgresBus
from holdfast.cli.main import app
from holdfast.contracts.topics import INVENTORY, SERVICES
from holdfast.local.info import BusInfo, PlatformInfo, PostgresInfo
from holdfast.local.layout import DataFolder, FolderLock
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.runtime.principals import role_of


@pytest.fixture
def bus(database: str, tmp_path: Path) -> Iterator[PostgresBus]:
    """The bus of a platform that seems to run on `tmp_path`."""
    yield from _platform(tmp_path, BusInfo("postgres", dsn=database, owner_dsn=database), OpenBus(database))


def _platform(root: Path, info: BusInfo, bus: PostgresBus) -> Iterator[PostgresBus]:
    folder = DataFolder(root)
    folder.prepare()
    with FolderLock(folder):
        platform = PlatformInfo(1, "", str(root), info, "", PostgresInfo(1, 1, 0), {})
        folder.platform.write_bytes(msgspec.json.encode(platform))
        yield bus
    bus.close()


def holdfast(root: Path, *arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, ["bus", *arguments, "--data", str(root)], input=answer)


def test_a_group_is_listed_forgotten_and_logged(bus: PostgresBus, database: str, tmp_path: Path) -> None:
    bus.create_topics(["a"], 2)
    bus.publisher().publish([Message("a", b"k", b"v"), Message("a", b"k", b"v")])
    reader = bus.consumer("experiment", ["a"])
    reader.poll(1, 0.0)
    shown = json.loads(holdfast(tmp_path, "groups", "--json").stdout)
    assert [(group["name"], group["members"], group["unread"]) for group in shown] == [("experiment", 1, 2)]
    forget = ("forget", "experiment", "--reason", "an experiment of May")
    alive = holdfast(tmp_path, *forget, "--yes")
    assert (alive.exit_code, "experiment has living members" in alive.stderr) == (4, True)

    reader.close()
    assert "experiment" in holdfast(tmp_path, "groups").stdout
    assert holdfast(tmp_path, *forget, answer="n\n").exit_code == 1
    assert [group.name for group in bus.groups()] == ["experiment"]
    assert holdfast(tmp_path, *forget, answer="y\n").exit_code == 0
    assert bus.groups() == []
    with psycopg.connect(database) as connection:
        logged = connection.execute(
            "select operator, action, target, reason from operator_actions"
        ).fetchall()
    assert logged == [(getpass.getuser(), "forget_group", "experiment", "an experiment of May")]
    assert holdfast(tmp_path, *forget, "--yes").exit_code == 3


def test_a_service_s_own_group_is_never_forgotten(bus: PostgresBus, tmp_path: Path) -> None:
    bus.create_topics(["a"], 1)
    bus.consumer(INVENTORY, ["a"]).poll(1, 0.0)
    refused = holdfast(tmp_path, "forget", INVENTORY, "--reason", "it is down", "--yes")
    assert (refused.exit_code, len(bus.groups())) == (4, 1)


def test_kafka_is_left_to_its_own_tools(database: str, tmp_path: Path) -> None:
    for _ in _platform(tmp_path, BusInfo("kafka", bootstrap="broker:9092"), PostgresBus(database)):
        result = holdfast(tmp_path, "groups")
    assert (result.exit_code, "kafka-consumer-groups" in result.stderr) == (4, True)


def test_without_a_platform_there_is_no_bus(tmp_path: Path) -> None:
    assert holdfast(tmp_path, "groups").exit_code == 3


def test_an_owner_sets_up_the_bus_as_often_as_he_likes(postgres: EmbeddedPostgres, database: str) -> None:
    postgres.ensure_roles([role_of(service) for service in SERVICES])
    for _ in range(2):
        result = CliRunner().invoke(app, ["bus", "setup", "--dsn", database, "--partitions", "3"])
        assert (result.exit_code, "10 topics are there" in result.stderr) == (0, True)
    other = CliRunner().invoke(app, ["bus", "setup", "--dsn", database, "--partitions", "4"])
    assert (other.exit_code, "has 3 partitions, not 4" in other.stderr) == (2, True)


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        ("postgresql://bus:secret@h/bus", "passfile=FILE"),
        ("postgresql://bus:%zz@h/bus", "no connection string"),
    ],
)
def test_a_password_on_the_command_line_is_refused(dsn: str, says: str) -> None:
    result = CliRunner().invoke(app, ["bus", "setup", "--dsn", dsn])
    assert (result.exit_code, says in result.stderr, "secret" in result.stderr) == (2, True, False)
