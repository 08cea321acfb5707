"""A PostgreSQL 18 server of our own on the loopback address; it ends with the process that started it.

It is durable (fsync and synchronous_commit are on). Each service makes its own tables.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from threading import Event
from typing import Self

import psycopg
from psycopg import pq, sql

from holdfast.local import processes
from holdfast.local.cluster import CLEAN_ENVIRONMENT, SUPERUSER, AlreadyRunning, Cluster, PostgresFailed
from holdfast.local.passwords import Passwords

__all__ = ["SUPERUSER", "AlreadyRunning", "EmbeddedPostgres", "PostgresFailed"]

_PORT_DRAWS = 5
_GIB = 1024**3


class EmbeddedPostgres:
    """One server on one data folder, which is made if it is missing.

    `port=None` takes a free one at the first start and keeps it. `settings` override `machine_settings`.
    Every session needs a role's password; they are in `passwords`, by default beside the data folder.
    Started by root, the server runs as the folder's owner or as `nobody`, because PostgreSQL refuses root.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        log: Path | None = None,
        passwords: Path | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.log = log or self.data_dir.with_name(self.data_dir.name + ".log")
        self.passwords = Passwords(passwords or self.data_dir.with_name(self.data_dir.name + ".passwords"))
        self._settings = {} if settings is None else dict(settings)
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float = 300.0, given_up: Event | None = None) -> None:
        """Return when the server takes connections; raises PostgresFailed (AlreadyRunning) with its log.

        The timeout is long because a server that was killed first replays its log; `given_up` ends the wait.
        """
        drawn = self._port is None
        for _ in range(_PORT_DRAWS if drawn else 1):
            log_start = self.log.stat().st_size if self.log.exists() else 0
            self.launch(patience_s=10.0)
            if self._await_ready(timeout_s, given_up or Event()):
                return
            if not drawn or processes.is_free(self.port):
                break
            self._port = None  # another process took it in between
        raise PostgresFailed(f"PostgreSQL did not start on {self.data_dir}: {self._log_since(log_start)}")

    def launch(self, patience_s: float = 1.0) -> subprocess.Popen[bytes]:
        """Start the server's process without waiting for it; raises PostgresFailed (AlreadyRunning).

        `patience_s`: how long to wait for an earlier server that is just stopping on this folder.
        """
        if self.running:
            raise AlreadyRunning(f"this server is running on {self.data_dir}")
        if self._port is None:
            self._port = processes.free_ports(1)[0]
        elif not processes.is_free(self._port):
            raise PostgresFailed(f"port {self._port} is taken")
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self._process = self._spawn(self._port, patience_s)
        return self._process

    def stop(self, timeout_s: float = 60.0, hurry: Event | None = None) -> None:
        """Shut down fast: open transactions are rolled back, the next start needs no recovery.

        After the timeout, or as soon as `hurry` is set, shut down immediately, like `kill_immediate`.
        """
        if self._process is not None:
            processes.end([self._process], signal.SIGINT, timeout_s, signal.SIGQUIT, hurry)

    def kill_immediate(self, timeout_s: float = 60.0) -> None:
        """Shut down immediately, as a crash would: the next start recovers from the log."""
        if self._process is not None:
            processes.end([self._process], signal.SIGQUIT, timeout_s, signal.SIGKILL)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def port(self) -> int:
        if self._port is None:
            raise PostgresFailed("the server has not been started yet")
        return self._port

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The postmaster."""
        if self._process is None:
            raise PostgresFailed("the server has not been started yet")
        return self._process

    def dsn(self, database: str, role: str = SUPERUSER) -> str:
        """Return the DSN of a database of this server, for a role that has a password here."""
        return self.passwords.dsn(self.port, database, role)

    def ensure_roles(self, roles: Sequence[str], readers: Sequence[str] = ()) -> None:
        """Create these login roles unless they exist; the `readers` may SELECT from every table."""
        with self._connect() as connection:
            names = [*roles, *readers]
            found = {name for (name,) in connection.execute(_statement("find_roles"), [names]).fetchall()}
            for role in names:
                is_new = self.passwords.ensure(role)
                if is_new or role not in found:
                    change = _statement("alter_role" if role in found else "create_role")
                    connection.execute(
                        change.format(role=sql.Identifier(role), verifier=self._verifier(connection, role))
                    )
            for reader in readers:
                connection.execute(_statement("grant_reading").format(reader=sql.Identifier(reader)))

    def ensure_database(self, name: str, owner: str = SUPERUSER, readers: Sequence[str] = ()) -> None:
        """Create this database unless it exists; only its owner and the `readers` may connect."""
        database = sql.Identifier(name)
        with self._connect() as connection:
            if connection.execute(_statement("find_database"), [name]).fetchone() is None:
                create = _statement("create_database")
                connection.execute(create.format(name=database, owner=sql.Identifier(owner)))
            rights = [_statement("revoke_database").format(name=database)]
            for reader in readers:
                grant = _statement("grant_connect")
                rights.append(grant.format(name=database, reader=sql.Identifier(reader)))
            connection.execute(sql.SQL(";").join(rights))

    def drop_database(self, name: str) -> None:
        """Drop this database and end the sessions on it."""
        with self._connect() as connection:
            connection.execute(_statement("drop_database").format(name=sql.Identifier(name)))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spawn(self, port: int, patience_s: float) -> subprocess.Popen[bytes]:
        cluster = Cluster(self.data_dir, self.passwords, patience_s)
        try:
            settings = machine_settings(self.data_dir) | self._settings
            options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
            return processes.start(
                [
                    str(cluster.programs / "postgres"),
                    *("-D", cluster.path, "-h", processes.HOST, "-p", str(port)),
                    *("-k", ""),  # no Unix socket: its path may be too long
                    *options,
                ],
                death_signal=signal.SIGINT,  # a fast shutdown
                log=self.log,
                env=CLEAN_ENVIRONMENT,
                account=cluster.account,
                pass_fds=[cluster.descriptor],
            )
        finally:
            cluster.close()

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            self.dsn("postgres"),
            sslmode="disable",  # whatever PGSSLMODE says: this server has none
            gssencmode="disable",
            connect_timeout=2,
            autocommit=True,
        )

    def _verifier(self, connection: psycopg.Connection[tuple[object, ...]], role: str) -> sql.Literal:
        """Return the password as the server stores it, so that no log of statements shows the password."""
        password = self.passwords.read(role)
        kept = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
        return sql.Literal(kept.decode())

    def _await_ready(self, timeout_s: float, given_up: Event) -> bool:
        """Wait until it accepts connections; False if it ended instead, by itself or for being slow."""
        deadline = time.monotonic() + timeout_s
        while self.running:
            if accepts_connections(self.port):
                return True
            if given_up.wait(0.02) or time.monotonic() > deadline:
                # Twice: a server that is just starting may miss the first.
                processes.end([self.process], signal.SIGQUIT, 2.0, signal.SIGQUIT)
        return False

    def _log_since(self, position: int) -> str:
        with self.log.open("rb") as log:
            log.seek(position)
            return log.read()[-2000:].decode(errors="replace").strip() or f"see {self.log}"


def machine_settings(data_dir: Path) -> dict[str, str]:
    """Return server settings scaled to this machine's (or container's) memory and to the free disk space."""
    memory = _memory_bytes()
    disk = shutil.disk_usage(data_dir if data_dir.exists() else data_dir.parent).free
    buffers = min(_GIB, max(memory // 8, _GIB // 8))
    wal = min(8 * _GIB, max(disk // 8, _GIB // 2))
    return {
        "shared_buffers": _megabytes(buffers),
        "wal_buffers": _megabytes(buffers // 16),
        "max_wal_size": _megabytes(wal),
        "checkpoint_timeout": "30min",
        "max_connections": "200",
        "max_parallel_workers_per_gather": "0",  # they need more /dev/shm than a container has
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }


def accepts_connections(port: int) -> bool:
    """Tell whether the embedded server on this port accepts connections now."""
    conninfo = f"host={processes.HOST} port={port} sslmode=disable gssencmode=disable connect_timeout=2"
    return pq.PGconn.ping(conninfo.encode()) == pq.Ping.OK


def _megabytes(count: int) -> str:
    return f"{count // 1024**2}MB"


def _memory_bytes() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return physical if text == "max" else min(physical, int(text))


def _statement(name: str) -> sql.SQL:
    text = resources.files("holdfast.local").joinpath("sql", f"{name}.sql").read_text()
    return sql.SQL(text)
