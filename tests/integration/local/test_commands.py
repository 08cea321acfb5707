"""The commands a person types, with their exit codes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.local.programs import OwnProcess, alive, pids, rows
from typer.testing import CliRunner, Result

from holdfast.cli.main import app
from holdfast.local import process_table, processes
from holdfast.local.platform import Platform, find


def holdfast(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def up(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`holdfast up` takes over its process's signals, so it gets a process of its own."""
    command = [sys.executable, "-m", "holdfast.cli.main", "up", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "HOLDFAST_KAFKA_BOOTSTRAP"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with Platform(tmp_path_factory.mktemp("commands") / "data", rows=rows) as platform:
        platform.wait_ready()
        yield platform


def test_status_shows_each_process(running: Platform) -> None:
    result = holdfast("status", "--data", running.folder.root)
    assert result.exit_code == 0
    lines = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()[1:]}
    assert set(lines) == {"postgres", *process_table.NAMES}
    gateway = running.info.services["gateway-bff"]
    assert lines["gateway-bff"] == [str(gateway.pid), str(gateway.port), "yes", "0"]


def test_status_as_json(running: Platform) -> None:
    result = holdfast("status", "--data", running.folder.root, "--json")
    assert result.exit_code == 0
    postgres, *_ = found = json.loads(result.stdout)
    assert len(found) == 8
    assert postgres == {
        "name": "postgres",
        "pid": running.info.postgres.pid,
        "port": running.info.postgres.port,
        "ready": True,
        "restarts": 0,
    }


def test_status_ends_1_while_something_is_not_ready(tmp_path: Path) -> None:
    with Platform(tmp_path / "data", rows=rows, environment={"STANDIN_UNREADY": "1"}):
        result = holdfast("status", "--data", tmp_path / "data", "--json")
    assert result.exit_code == 1
    assert [each["name"] for each in json.loads(result.stdout) if each["ready"]] == ["postgres"]


@pytest.mark.parametrize("command", ["status", "down"])
def test_where_nothing_runs_it_is_said(tmp_path: Path, command: str) -> None:
    result = holdfast(command, "--data", tmp_path)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert f"no platform is running on {tmp_path}" in result.stderr


def test_down_stops_it_and_waits(tmp_path: Path) -> None:
    own = OwnProcess(tmp_path / "data", processes.free_ports(1)[0])
    own.wait_for("Ctrl-C stops everything.")
    those = pids(find(tmp_path / "data"))
    result = holdfast("down", "--data", tmp_path / "data")
    assert result.exit_code == 0
    assert not any(map(alive, [own.process.pid, *those]))
    assert own.end() == 0


def test_up_with_a_taken_port_is_one_line_and_exit_4(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = up("--data", tmp_path / "data", "--port", port)
    assert result.returncode == 4
    assert result.stderr == f"port {port} (the gateway's) is taken: choose another with --port N\n"


def test_a_second_up_is_refused_with_exit_4(running: Platform) -> None:
    result = up("--data", running.folder.root)
    assert result.returncode == 4
    assert f"is running on {running.folder.root}" in result.stderr


def test_kafka_needs_an_address(tmp_path: Path) -> None:
    result = up("--bus", "kafka", "--data", tmp_path)
    assert result.returncode == 2
    assert "--kafka HOST:PORT" in result.stderr


def test_a_kafka_that_does_not_answer_is_exit_5(tmp_path: Path) -> None:
    (port,) = processes.free_ports(1)
    result = up("--bus", "kafka", "--kafka", f"127.0.0.1:{port}", "--data", tmp_path / "data")
    assert result.returncode == 5


def test_a_token_is_one_line_on_stdout(running: Platform) -> None:
    result = holdfast("token", "--user", "ada", "--data", running.folder.root)
    assert result.exit_code == 0
    assert result.stdout.count(".") == 2
    assert result.stdout.count("\n") == 1


def test_a_token_for_a_folder_without_keys_is_exit_3(tmp_path: Path) -> None:
    result = holdfast("token", "--user", "ada", "--data", tmp_path)
    assert result.exit_code == 3
    assert "start a platform there first" in result.stderr


@pytest.mark.parametrize("ttl", ["3y", "0h", "-1h", "8", ""])
def test_a_ttl_must_be_a_time(running: Platform, ttl: str) -> None:
    result = holdfast("token", "--user", "ada", f"--ttl={ttl}", "--data", running.folder.root)
    assert result.exit_code == 2


def test_serve_knows_its_names() -> None:
    result = holdfast("serve", "cart")
    assert result.exit_code == 2
    assert "cart-crud" in result.stderr
