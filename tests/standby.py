"""A PostgreSQL primary with a synchronous standby, both on this machine."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
from tests.eventually import eventually

from holdfast.local.binaries import bin_folder
from holdfast.local.postgres import SUPERUSER, EmbeddedPostgres

SETTINGS = {"shared_buffers": "64MB", "max_wal_size": "512MB", "max_connections": "100"}


class Pair(NamedTuple):
    """The primary is the first that DSNs name."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres

    def dsn(self, database: str, role: str = SUPERUSER) -> str:
        ours, theirs = (f"127.0.0.1:{server.port}" for server in self)
        return self.primary.dsn(database, role).replace(ours, f"{ours},{theirs}")


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Start both; every commit is on both before it is answered."""
    primary = EmbeddedPostgres(folder / "primary", settings=SETTINGS)
    with primary, standby_of(primary, folder / "standby", None) as standby:
        with psycopg.connect(primary.dsn("postgres"), autocommit=True) as connection:
            connection.execute("alter system set synchronous_standby_names = '*'")
            connection.execute("select pg_reload_conf()")
            question = "select count(*) from pg_stat_replication where sync_state = 'sync'"
            eventually(lambda: connection.execute(question).fetchone() == (1,), "the standby is synchronous")
        yield Pair(primary, standby)


@contextmanager
def standby_of(primary: EmbeddedPostgres, folder: Path, port: int | None) -> Iterator[EmbeddedPostgres]:
    """Copy a running server and start the copy as its standby."""
    source = primary.dsn("postgres")
    command = [str(bin_folder(None) / "pg_basebackup"), "-d", source, "-D", str(folder)]
    subprocess.run([*command, "-R", "-X", "stream", "-c", "fast"], check=True, capture_output=True)
    configuration = folder / "postgresql.auto.conf"
    lines = configuration.read_text().splitlines()
    ours = ("synchronous_standby_names", "primary_conninfo")
    kept = [line for line in lines if not line.startswith(ours)]
    # The password itself: the server's account may not read the file that has it.
    password = primary.passwords.read(SUPERUSER)
    login = f"host=127.0.0.1 port={primary.port} user={SUPERUSER} password={password}"
    configuration.write_text("\n".join([*kept, f"primary_conninfo = '{login}'", ""]))
    owner = primary.data_dir.stat()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    with EmbeddedPostgres(
        folder, port=port, settings=SETTINGS, passwords=primary.passwords.folder
    ) as standby:
        yield standby
