"""PostgreSQL goes, in every way it can, under load: the services wait, and go on without hands."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.e2e.traffic import Stage, Traffic
from tests.eventually import eventually

from holdfast.contracts.topics import ORCHESTRATOR
from holdfast.local import process_table, provision
from holdfast.local.postgres import EmbeddedPostgres

SETTINGS = {
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "max_connections": "70",
    "superuser_reserved_connections": "0",  # ours is a superuser, and shall not be better off
}
TERMINATIONS = 60
MEGABYTE = 1024**2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server that the tests may break; each leaves it running."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("server") / "cluster", settings=SETTINGS)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def stage(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A platform that was started while the server was away, and came up when it appeared."""
    server.stop()
    with Stage(tmp_path_factory.mktemp("platform"), server.dsn) as stage:
        stage.await_all("/livez", 200, "every process lives without its database")
        stage.await_all("/readyz", 503, "none says that it is ready")
        server.start()
        provision.create_databases(server)
        provision.set_up_bus(server)
        stage.open_shop()
        assert stage.restarts() == 0
        yield stage


def clean_stop(stage: Stage, server: EmbeddedPostgres) -> None:
    server.stop()
    stage.await_all("/readyz", 503, "none is ready while the server is stopped")
    server.start()


def immediate_stop(stage: Stage, server: EmbeddedPostgres) -> None:
    server.kill_immediate()
    stage.await_all("/readyz", 503, "none is ready while the server is down")
    server.start()


def killed_backend(stage: Stage, server: EmbeddedPostgres) -> None:
    """PostgreSQL then ends all sessions and recovers."""
    with superuser(server) as connection:
        question = "select pid from pg_stat_activity where datname = 'checkout_orchestrator' limit 1"
        row = connection.execute(question).fetchone()
        assert row is not None
        os.kill(row[0], signal.SIGKILL)

        def ended() -> bool:
            try:
                connection.execute("select 1")
            except psycopg.OperationalError:
                return True
            return False

        eventually(ended, "every session is ended")


def terminated_sessions(stage: Stage, server: EmbeddedPostgres) -> None:
    """One of the services' sessions after the other, drawn by chance."""
    statement = """
        select count(pg_terminate_backend(pid)) from (
          select pid from pg_stat_activity where application_name <> 'breaker' and datname is not null
          order by random() limit 1) as chosen"""
    rhythm = threading.Event()
    with superuser(server) as connection:
        for _ in range(TERMINATIONS):
            connection.execute(statement.encode())
            rhythm.wait(0.1)


def read_only_server(stage: Stage, server: EmbeddedPostgres) -> None:
    """As a primary is after its demotion: sessions stay, and refuse to write (25006)."""
    with superuser(server) as connection:
        connection.execute("alter system set default_transaction_read_only = on")
        connection.execute("select pg_reload_conf()")
        stage.await_all("/readyz", 503, "none is ready while nothing can be written")
        connection.execute("set default_transaction_read_only = off")
        connection.execute("alter system reset default_transaction_read_only")
        connection.execute("select pg_reload_conf()")


def no_connection_left(stage: Stage, server: EmbeddedPostgres) -> None:
    """Somebody else has all of them (53300)."""
    with ExitStack() as held, superuser(server) as connection:
        others = "pid <> pg_backend_pid() and datname is not null and application_name <> 'breaker'"
        while True:
            try:
                held.enter_context(superuser(server))
            except psycopg.OperationalError:  # too many clients: see who is left
                left = connection.execute(f"select count(*) from pg_stat_activity where {others}".encode())
                if left.fetchone() == (0,):
                    break
                connection.execute(
                    f"select pg_terminate_backend(pid) from pg_stat_activity where {others}".encode()
                )
        stage.await_all("/readyz", 503, "none is ready without a connection")


def full_disk(stage: Stage, server: EmbeddedPostgres) -> str:
    """The disk of the sagas' history is full (53100); where no disk can be mounted, a trigger says it is."""
    with small_disk(server) as disk, superuser(server, process_table.database(ORCHESTRATOR)) as connection:
        if disk is not None:
            connection.execute(f"create tablespace small location '{disk}'".encode())
            connection.execute("alter table saga_event set tablespace small")
            ballast = fill(disk)
        else:
            connection.execute(FULL_DISK)
        eventually(
            lambda: stage.statuses("/readyz")[ORCHESTRATOR] == 503, "the orchestrator is not ready", 60
        )
        if disk is not None:
            ballast.unlink()
            connection.execute("alter table saga_event set tablespace pg_default")
            connection.execute("drop tablespace small")
        else:
            connection.execute("drop function full_disk cascade")
    return "a real disk was full" if disk else "no disk can be mounted here: a trigger said that it was full"


def full_log_disk(stage: Stage, server: EmbeddedPostgres) -> str:
    """The disk of the server's log is full: the server exits; somebody makes room and starts it again."""
    log = server.data_dir / "pg_wal"
    size = sum(path.stat().st_size for path in log.rglob("*") if path.is_file())
    with small_disk(server, size // MEGABYTE + 48) as disk:
        if disk is None:
            return "no disk can be mounted here: not tried"
        move_log(server, log, disk / "pg_wal")
        log.symlink_to(disk / "pg_wal")
        server.start()
        stage.await_all("/readyz", 200, "all are ready on the small disk")
        ballast = fill(disk)
        eventually(lambda: not is_writing_log(server), "the server has exited", 180)
        stage.await_all("/readyz", 503, "none is ready without its server")
        ballast.unlink()
        server.start()
        stage.await_all("/readyz", 200, "all are ready again")
        log.unlink()
        move_log(server, disk / "pg_wal", log)
        server.start()
    return "a real disk was full"


def move_log(server: EmbeddedPostgres, old: Path, new: Path) -> None:
    """Stop the server and put its log elsewhere."""
    server.stop()
    shutil.copytree(old, new, copy_function=shutil.copy2)
    owner = server.data_dir.stat()
    for path in (new, *new.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    new.chmod(0o700)
    shutil.rmtree(old)


def is_writing_log(server: EmbeddedPostgres) -> bool:
    """Write some more of the log, if the server still runs."""
    with suppress(psycopg.OperationalError), superuser(server) as connection:
        connection.execute("select pg_logical_emit_message(false, 'ballast', 'x'), pg_switch_wal()")
    return server.running


def fill(disk: Path) -> Path:
    """Fill a disk with one file, and return it."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    return ballast


FULL_DISK = """
    create function full_disk() returns trigger language plpgsql as $$
    begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$;
    create trigger full_disk before insert on saga_event execute function full_disk()"""

SHORT = [immediate_stop, read_only_server, no_connection_left, full_disk]
LONG = [clean_stop, killed_backend, terminated_sessions, full_log_disk]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "fault",
    [*SHORT, *(pytest.param(fault, marks=pytest.mark.long) for fault in LONG)],
    ids=[fault.__name__ for fault in (*SHORT, *LONG)],
)
def test_the_services_wait_and_resume(
    stage: Stage,
    server: EmbeddedPostgres,
    fault: Callable[[Stage, EmbeddedPostgres], str | None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Traffic(stage) as traffic:
        traffic.await_under_way()
        variant = fault(stage, server)
        if variant:
            with capsys.disabled():
                print(f"\n{fault.__name__}: {variant}", file=sys.stderr)  # noqa: T201
        stage.await_all("/readyz", 200, "all are ready again")
        traffic.await_more()
    assert traffic.dead == set(), "livez stayed green"
    stage.assert_sound(traffic.accepted)
    assert stage.restarts() == 0, "no process ended"


@contextmanager
def small_disk(server: EmbeddedPostgres, megabytes: int = 4) -> Iterator[Path | None]:
    """Mount a small disk that belongs to the server; None where that is not allowed."""
    folder, owner = Path(tempfile.mkdtemp(prefix="holdfast-disk-")), server.data_dir.stat()
    options = f"size={megabytes}m,mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


Connection = psycopg.Connection[tuple[Any, ...]]


@contextmanager
def superuser(server: EmbeddedPostgres, database: str = "postgres") -> Iterator[Connection]:
    with psycopg.connect(
        server.dsn(database), application_name="breaker", autocommit=True, connect_timeout=10
    ) as connection:
        yield connection
