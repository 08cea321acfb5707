"""The supervisor: all come up, what dies comes back, and nothing is left behind, however it ends.

The programs are stand-ins; the PostgreSQL server is real.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.eventually import eventually
from tests.integration.local.programs import OwnProcess, alive, all_gone, pids, rows

from holdfast.local import platform as platform_module
from holdfast.local import process_table, processes
from holdfast.local.info import ProcessStatus, find
from holdfast.local.platform import FolderInUse, NotReady, NotRunning, Platform, PortTaken, WrongBus
from holdfast.runtime.principals import AUDITOR

GATEWAY = "gateway-bff"


def standins(data: Path, **environment: str) -> Platform:
    return Platform(data, rows=rows, environment=environment)


def states(platform: Platform) -> dict[str, ProcessStatus]:
    return {each.name: each for each in platform.processes()}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with standins(tmp_path_factory.mktemp("platform") / "data") as platform:
        yield platform


@pytest.fixture
def platform(shared: Platform) -> Platform:
    """A platform that is ready; it was started before, and some of its processes may have been killed."""
    shared.wait_ready()
    return shared


def test_every_process_is_there_and_ready(platform: Platform) -> None:
    found = platform.processes()
    assert [each.name for each in found] == ["postgres", *process_table.NAMES]
    assert all(each.ready and alive(each.pid) for each in found)
    assert len({each.port for each in found}) == len({each.pid for each in found}) == 8


def test_every_database_is_there(platform: Platform) -> None:
    with psycopg.connect(platform.postgres.dsn("postgres")) as connection:
        rows = connection.execute("select datname from pg_database where not datistemplate").fetchall()
    assert {name for (name,) in rows} == {
        "postgres",
        "bus",
        "gateway_bff",
        "checkout_orchestrator",
        "inventory_write",
        "payment_gateway",
        "order_create",
        "cart_crud",
    }


def test_it_is_found_by_its_data_folder(platform: Platform) -> None:
    info = find(platform.folder.root)
    assert info == platform.info
    assert info.pid == os.getpid()
    assert info.bus.dsn == platform.postgres.dsn("bus", AUDITOR)
    assert info.services[GATEWAY].dsn == platform.postgres.dsn("gateway_bff", AUDITOR)
    assert info.services[GATEWAY].url == f"http://127.0.0.1:{info.services[GATEWAY].port}"
    assert info.services["payment-provider"].dsn is None
    assert Path(info.wakeup_folder).stat().st_mode & 0o777 == 0o700


def test_each_process_writes_its_own_log(platform: Platform) -> None:
    for name in process_table.NAMES:
        assert f"stand-in {name} starts" in platform.folder.log(name).read_text()
    assert "ready to accept connections" in platform.folder.log("postgres").read_text()


@pytest.mark.parametrize("name", ["order-create", "payment-provider"])
def test_a_killed_process_comes_back_and_the_others_do_not_notice(platform: Platform, name: str) -> None:
    before = states(platform)
    assert platform.kill(name) == before[name].pid
    eventually(lambda: states(platform)[name].restarts == before[name].restarts + 1, "it is started again")
    platform.wait_ready()
    after = states(platform)
    assert after[name].pid != before[name].pid
    assert after[name].port == before[name].port
    assert {each: state for each, state in after.items() if each != name} == {
        each: state for each, state in before.items() if each != name
    }
    eventually(lambda: find(platform.folder.root) == platform.info, "platform.json says so")


def test_a_killed_postgresql_comes_back_with_its_data_at_its_port(platform: Platform) -> None:
    with psycopg.connect(platform.postgres.dsn("order_create")) as connection:
        connection.execute("create table orders as select 7 as total")
    before = states(platform)["postgres"]
    platform.kill("postgres")
    eventually(lambda: states(platform)["postgres"].restarts == before.restarts + 1, "it is started again")
    platform.wait_ready()
    with psycopg.connect(platform.postgres.dsn("order_create")) as connection:
        assert connection.execute("select total from orders").fetchone() == (7,)
    assert states(platform)["postgres"].port == before.port


def test_what_keeps_dying_is_started_again_and_again_until_it_lives(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    said: list[str] = []
    platform = Platform(
        tmp_path / "data", rows=rows, environment={"STANDIN_CRASH_WHILE": str(broken)}, say=said.append
    )
    with platform:
        eventually(lambda: states(platform)[GATEWAY].restarts >= 2, "it is tried again")
        with pytest.raises(NotReady, match=GATEWAY):
            platform.wait_ready(timeout_s=0.0)
        broken.unlink()
        platform.wait_ready()
    assert f"{GATEWAY} ended with exit code 7; it is started again in 0.2 s" in said
    assert f"{GATEWAY} ended with exit code 7; it is started again in 0.4 s" in said


def test_an_answer_that_is_not_200_is_not_ready(tmp_path: Path) -> None:
    with standins(tmp_path / "data", STANDIN_UNREADY="1") as platform:
        with pytest.raises(NotReady) as refusal:
            platform.wait_ready(timeout_s=1.0)
        assert refusal.value.missing == process_table.NAMES


def test_after_stop_nothing_is_left(tmp_path: Path) -> None:
    with standins(tmp_path / "data") as platform:
        info = platform.info
        those = pids(info)
    assert not any(map(alive, those))
    assert not Path(info.wakeup_folder).exists()
    with pytest.raises(NotRunning, match="no platform is running"):
        find(tmp_path / "data")
    platform.stop()  # again: harmless


def test_the_deaf_are_killed_after_the_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform_module, "_SERVICES_GRACE_S", 0.2)
    monkeypatch.setattr(platform_module, "_PROVIDER_GRACE_S", 0.2)
    with standins(tmp_path / "data", STANDIN_DEAF="1") as platform:
        platform.wait_ready()
        those = pids(platform.info)
    assert not any(map(alive, those))


def test_the_graces_leave_room_below_fifteen_seconds() -> None:
    graces = (
        platform_module._SERVICES_GRACE_S,
        platform_module._PROVIDER_GRACE_S,
        platform_module._POSTGRES_GRACE_S,
    )
    assert sum(graces) <= 14.0


def test_asked_twice_it_waits_for_nobody(tmp_path: Path) -> None:
    with standins(tmp_path / "data", STANDIN_DEAF="1") as platform:
        platform.wait_ready()
        those = pids(platform.info)
        platform.request_stop()
        platform.request_stop()
        begun = time.monotonic()
    assert time.monotonic() - begun < platform_module._SERVICES_GRACE_S
    assert not any(map(alive, those))


def test_a_second_start_continues_where_the_first_stopped(tmp_path: Path) -> None:
    with standins(tmp_path / "data") as first:
        with psycopg.connect(first.postgres.dsn("cart_crud")) as connection:
            connection.execute("create table carts as select 3 as items")
        key = (first.folder.keys / "signing.json").read_text()
    with standins(tmp_path / "data") as second:
        second.wait_ready()
        with psycopg.connect(second.postgres.dsn("cart_crud")) as connection:
            assert connection.execute("select items from carts").fetchone() == (3,)
        assert (second.folder.keys / "signing.json").read_text() == key


def test_a_second_platform_on_the_folder_is_refused_and_harms_nothing(platform: Platform) -> None:
    with pytest.raises(FolderInUse, match=f"pid {os.getpid()}"):
        standins(platform.folder.root).start()
    assert find(platform.folder.root) == platform.info
    assert all(each.ready for each in platform.processes())


def test_several_platforms_run_side_by_side(platform: Platform, tmp_path: Path) -> None:
    with standins(tmp_path / "other") as other:
        other.wait_ready()
        ports = [each.port for each in (*platform.processes(), *other.processes())]
        assert len(set(ports)) == 16
        assert all(each.ready for each in platform.processes())


def test_a_taken_gateway_port_is_said_and_nothing_was_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} .* --port"):
            Platform(tmp_path / "data", gateway_port=port, rows=rows).start()
    assert not (tmp_path / "data" / "postgres").exists()
    with Platform(tmp_path / "data", gateway_port=port, rows=rows) as platform:
        assert platform.info.services[GATEWAY].port == port


def test_a_folder_stays_with_its_bus(tmp_path: Path) -> None:
    with standins(tmp_path / "data"):
        pass
    with pytest.raises(WrongBus, match="--bus postgres"):
        Platform(tmp_path / "data", kafka="127.0.0.1:1", rows=rows).start()


def test_a_kafka_that_is_not_there_is_said(tmp_path: Path) -> None:
    (port,) = processes.free_ports(1)
    with pytest.raises(platform_module.BusUnreachable, match=f"127.0.0.1:{port}"):
        Platform(tmp_path / "data", kafka=f"127.0.0.1:{port}", rows=rows).start()


def test_on_kafka_every_process_is_told_the_broker(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker:
        address = f"127.0.0.1:{broker.getsockname()[1]}"
        with Platform(tmp_path / "data", kafka=address, rows=rows):
            info = find(tmp_path / "data")
    assert (info.bus.kind, info.bus.bootstrap, info.bus.dsn) == ("kafka", address, None)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnProcess]:
    own = OwnProcess(tmp_path / "data", processes.free_ports(1)[0])
    yield own
    own.process.kill()
    own.process.wait()


def test_the_command_says_where_everything_is_and_stops_at_ctrl_c(own: OwnProcess, tmp_path: Path) -> None:
    own.wait_for("Ctrl-C stops everything.")
    info = find(tmp_path / "data")
    for service in info.services.values():
        assert service.url in own.said
    assert "holdfast status --data" in own.said
    those = pids(info)
    assert own.end(signal.SIGINT) == 0
    assert not any(map(alive, those))
    assert "nothing is left running" in own.said


def test_the_command_stops_at_sigterm_before_all_are_ready(tmp_path: Path) -> None:
    own = OwnProcess(tmp_path / "data", processes.free_ports(1)[0], STANDIN_UNREADY="1")
    own.wait_for("waiting until every process is ready")
    those = pids(find(tmp_path / "data"))
    assert own.end(signal.SIGTERM) == 0
    assert not any(map(alive, those))


def test_a_second_signal_ends_the_deaf_at_once(tmp_path: Path) -> None:
    own = OwnProcess(tmp_path / "data", processes.free_ports(1)[0], STANDIN_DEAF="1")
    own.wait_for("Ctrl-C stops everything.")
    those = pids(find(tmp_path / "data"))
    begun = time.monotonic()
    own.process.send_signal(signal.SIGTERM)
    own.wait_for("Stopping")
    own.end(signal.SIGTERM)
    assert time.monotonic() - begun < platform_module._SERVICES_GRACE_S
    assert not any(map(alive, those))


def test_a_killed_supervisor_leaves_no_process_and_the_folder_can_go_on(
    own: OwnProcess, tmp_path: Path
) -> None:
    own.wait_for("Ctrl-C stops everything.")
    info = find(tmp_path / "data")
    those = pids(info)
    assert len(those) >= 8
    own.end(signal.SIGKILL)
    all_gone(those)
    with pytest.raises(NotRunning):
        find(tmp_path / "data")
    assert Path(info.wakeup_folder).exists()
    with standins(tmp_path / "data") as next_one:
        next_one.wait_ready()
        assert not Path(info.wakeup_folder).exists()
