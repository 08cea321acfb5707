"""A synchronous standby that is gone: a commit without its copy is none, for the store and for the bus."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from tests.conformance.threads import InThread
from tests.eventually import eventually
from tests.open_bus import OpenBus

from holdfast.bus.port import BusUnavailable, Message
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.messaging.database import PostgresTransaction
from holdfast.messaging.database_session import connect
from holdfast.messaging.pipeline import CommitUncertain, Pipeline
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.messaging.store import StoreUnavailable
from holdfast.runtime.migrations import migrate

SETTINGS = {"shared_buffers": "16MB", "max_wal_size": "128MB"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("alone") / "cluster", settings=SETTINGS) as server:
        migrate(server.dsn("postgres"), ["holdfast.messaging"], time.sleep)
        yield server


@pytest.fixture
def admin(server: EmbeddedPostgres) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """Somebody who watches, after having asked for a standby that does not exist."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute("set synchronous_commit = local")
        require_absent_standby(connection, server)
        yield connection
        require(connection, "")


def require(admin: "psycopg.Connection[tuple[object, ...]]", standbys: str) -> None:
    admin.execute(f"alter system set synchronous_standby_names = '{standbys}'".encode())
    admin.execute("select pg_reload_conf()")
    question = "select current_setting('synchronous_standby_names')"
    eventually(lambda: admin.execute(question).fetchone() == (standbys,), "the server knows")


def require_absent_standby(admin: "psycopg.Connection[tuple[object, ...]]", server: EmbeddedPostgres) -> None:
    """Ask for a standby that does not exist, and return once a commit has waited for it.

    That a session reads the new setting is not enough: commits wait only after the checkpointer has read it.
    """
    require(admin, "*")
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as probe:
        cut_short: list[object] = []
        probe.add_notice_handler(cut_short.append)

        def write_until_cut_short() -> None:
            while not cut_short:
                probe.execute("select pg_logical_emit_message(true, '', '')")

        aside = InThread(write_until_cut_short)
        eventually(lambda: waiting(admin) == 1, "a commit waits")
        admin.execute("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")
        aside.wait()


def waiting(admin: "psycopg.Connection[tuple[object, ...]]") -> int:
    found = admin.execute("select count(*) from pg_stat_activity where wait_event = 'SyncRep'").fetchone()
    assert found is not None
    return int(str(found[0]))


def leases(admin: "psycopg.Connection[tuple[object, ...]]") -> set[object]:
    return {name for (name,) in admin.execute("select name from leases").fetchall()}


def test_a_commit_that_waits_is_given_up_but_never_cut_short(
    server: EmbeddedPostgres, admin: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    session = Pipeline(connect(server.dsn("postgres"), "-c statement_timeout=200ms"))
    session.begin()
    session.write("insert into leases values ('patient', 'me', now())", {})
    with pytest.raises(CommitUncertain, match="no answer"):
        session.commit(timeout_s=1.0)
    session.close()
    assert "patient" not in leases(admin), "nobody sees what a failover could lose"
    require(admin, "")
    eventually(lambda: "patient" in leases(admin), "the commit has its answer, though nobody listens")


def test_a_commit_that_somebody_cuts_short_does_not_count(
    server: EmbeddedPostgres, admin: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    store = PostgresStore(server.dsn("postgres"), PostgresTransaction)

    def write() -> None:
        with store.transaction() as tx:
            tx.take_lease("hasty", "me", 1000)

    aside = InThread(write)
    eventually(lambda: waiting(admin) == 1, "the commit waits")
    admin.execute("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")
    with pytest.raises(StoreUnavailable, match="no copy"):
        aside.wait()
    store.close()


def test_a_publish_that_is_cut_short_is_none(
    server: EmbeddedPostgres, admin: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    require(admin, "")
    server.ensure_database("bus")
    bus = OpenBus(server.dsn("bus"))
    bus.create_topics(["topic"], 1)
    publisher = bus.publisher()
    publisher.publish([Message("topic", b"k", b"0")])
    require_absent_standby(admin, server)
    aside = InThread(lambda: publisher.publish([Message("topic", b"k", b"1")]))
    eventually(lambda: waiting(admin) == 1, "the commit waits")
    admin.execute("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")
    with pytest.raises(BusUnavailable, match="no copy"):
        aside.wait()
    require(admin, "")
    publisher.publish([Message("topic", b"k", b"1")])
    publisher.close()
    bus.close()
