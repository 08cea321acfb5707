"""Roles and databases of the embedded server: each service has its own, and a stranger has nothing."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from holdfast.bus.port import BusForbidden
from holdfast.bus.postgres.bus import PostgresBus
from holdfast.contracts.topics import SERVICES
from holdfast.local import processes, provision
from holdfast.local.postgres import EmbeddedPostgres, PostgresFailed
from holdfast.messaging.store import StoreForbidden, StoreUnavailable
from holdfast.runtime.migrations import require_durable
from holdfast.runtime.principals import AUDITOR, BUS_OWNER, OPS, role_of

ROLES = [role_of(service) for service in SERVICES]
DATABASES = ["bus", *ROLES]
SMALL = {"shared_buffers": "16MB", "max_wal_size": "128MB"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder = tmp_path_factory.mktemp("server")
    with EmbeddedPostgres(folder / "cluster", settings=SMALL) as server:
        provision.create_databases(server)
        provision.set_up_bus(server)
        for role in ROLES:
            with psycopg.connect(server.dsn(role, role)) as connection:
                connection.execute("create table secret as select 1 as value")
        yield server


def test_nobody_is_let_in_without_a_password(server: EmbeddedPostgres, tmp_path: Path) -> None:
    nothing = tmp_path / "none"
    wrong = tmp_path / "wrong"
    wrong.write_text("*:*:*:*:guess\n")
    wrong.chmod(0o600)
    for role in ("postgres", BUS_OWNER, AUDITOR, *ROLES, "stranger"):
        for passfile in (nothing, wrong):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(
                    host=processes.HOST,
                    port=server.port,
                    user=role,
                    dbname="postgres",
                    passfile=str(passfile),
                )


@pytest.mark.parametrize("wrong", ["password", "role", "database", "no password"])
def test_a_wrong_login_is_told_from_a_server_that_is_away(
    server: EmbeddedPostgres, tmp_path: Path, wrong: str
) -> None:
    """In the service's database and on the bus: what a start says of it names the setting."""
    passfile = tmp_path / "pass"
    passfile.write_text("" if wrong == "no password" else "*:*:*:*:guess\n")
    passfile.chmod(0o600)
    dsn = server.dsn("order_create", "order_create")
    if wrong == "role":
        dsn = make_conninfo(dsn, user="nobody", passfile=str(passfile))
    elif wrong == "database":
        dsn = make_conninfo(dsn, dbname="nowhere")
    else:
        dsn = make_conninfo(dsn, passfile=str(passfile))
    with pytest.raises(StoreForbidden):
        require_durable(dsn)
    with pytest.raises(BusForbidden):
        PostgresBus(dsn).partition_count("any")
    with pytest.raises(BusForbidden):
        PostgresBus(dsn).create_topics(["any"], 1)
    away = make_conninfo(dsn, port="9", connect_timeout="2")
    with pytest.raises(StoreUnavailable) as unreachable:
        require_durable(away)
    assert type(unreachable.value) is StoreUnavailable


def test_the_server_has_no_socket_and_trusts_no_line_of_its_rules(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.dsn("postgres")) as connection:
        methods = connection.execute("select distinct auth_method from pg_hba_file_rules").fetchall()
        sockets = connection.execute("show unix_socket_directories").fetchone()
    assert (methods, sockets) == ([("scram-sha-256",)], ("",))
    with socket.socket(socket.AF_UNIX) as stranger, pytest.raises(FileNotFoundError):
        stranger.connect(f"/tmp/.s.PGSQL.{server.port}")


def test_passwords_are_for_their_owner_s_eyes(server: EmbeddedPostgres) -> None:
    files = list(server.passwords.folder.iterdir())
    assert {file.stem for file in files} == {"postgres", BUS_OWNER, OPS, AUDITOR, *ROLES}
    for file in files:
        found = file.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, os.geteuid())
    assert stat.S_IMODE(server.passwords.folder.stat().st_mode) == 0o700
    assert len({server.passwords.read(file.stem) for file in files}) == len(files)
    with psycopg.connect(server.dsn("postgres")) as connection:
        kept = connection.execute("select rolpassword from pg_authid where rolcanlogin").fetchall()
    assert all(verifier.startswith("SCRAM-SHA-256$") for (verifier,) in kept)
    said = server.log.read_text()
    assert not [file.stem for file in files if server.passwords.read(file.stem) in said]


@pytest.mark.parametrize("role", [*ROLES, BUS_OWNER])
def test_a_role_enters_no_database_of_another_and_is_no_superuser(
    server: EmbeddedPostgres, role: str
) -> None:
    for database in DATABASES:
        if database not in {role, "bus"}:
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(server.dsn(database, role))
    with psycopg.connect(server.dsn(role, role)) as connection:
        rights = connection.execute(
            "select rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls from pg_roles "
            "where rolname = current_user"
        ).fetchone()
        owner = connection.execute(
            "select datdba::regrole::text from pg_database where datname = current_database()"
        ).fetchone()
    assert (rights, owner) == ((False,) * 5, (role,))


@pytest.mark.parametrize("reader", [OPS, AUDITOR])
@pytest.mark.parametrize("database", ROLES)
def test_who_looks_reads_everything_and_changes_nothing(
    server: EmbeddedPostgres, reader: str, database: str
) -> None:
    with psycopg.connect(server.dsn(database, reader), autocommit=True) as connection:
        assert connection.execute("select value from secret").fetchone() == (1,)
        for statement in (
            b"insert into secret values (2)",
            b"update secret set value = 2",
            b"delete from secret",
            b"truncate secret",
            b"drop table secret",
            b"create table mine (a int)",
            b"alter role cart_crud password 'x'",
            b"copy secret to program 'true'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_it_is_made_once_and_found_again(server: EmbeddedPostgres) -> None:
    before = server.passwords.read("cart_crud")
    provision.create_databases(server)
    provision.set_up_bus(server)
    assert server.passwords.read("cart_crud") == before
    psycopg.connect(server.dsn("cart_crud", "cart_crud")).close()


def test_a_service_s_lost_password_is_made_anew(server: EmbeddedPostgres) -> None:
    server.passwords.path("cart_crud").unlink()
    provision.create_databases(server)
    psycopg.connect(server.dsn("cart_crud", "cart_crud")).close()


def test_a_data_folder_without_its_superuser_s_password_is_said(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    with EmbeddedPostgres(tmp_path / "other", settings=SMALL) as other:
        version = (other.data_dir / "PG_VERSION").read_text()
    (tmp_path / "cluster" / "PG_VERSION").write_text(version)
    with pytest.raises(PostgresFailed, match="was made without passwords"):
        EmbeddedPostgres(tmp_path / "cluster", settings=SMALL).start()
