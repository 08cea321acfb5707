"""PostgresStore: which errors are transient, how a session is set, and where locks are."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors
from tests.samples import saga_id

from holdfast.messaging.database import PostgresTransaction
from holdfast.messaging.database_session import is_trouble, unavailable
from holdfast.messaging.fence import Fence, FenceState
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.messaging.store import StatementFailed, StoreUnavailable
from holdfast.runtime.migrations import migrate

Store = PostgresStore[PostgresTransaction]


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    migrate(database, ["holdfast.messaging"], time.sleep)
    store = PostgresStore(database, PostgresTransaction, size=2)
    yield store
    store.close()


def run(tx: PostgresTransaction, statement: str) -> Any:
    """Execute SQL past the store's own statements; return the first column of the first row."""
    rows = tx._pipeline.read(statement, {})
    return rows[0][0] if rows else None


TROUBLE = {
    "08006": "connection_failure",
    "40001": "serialization_failure",
    "40P01": "deadlock_detected",
    "53100": "disk_full",
    "53200": "out_of_memory",
    "53300": "too_many_connections",
    "55P03": "lock_not_available",
    "57014": "query_canceled",
    "57P01": "admin_shutdown",
    "57P03": "cannot_connect_now",
    "25006": "read_only_sql_transaction",
    "25P03": "idle_in_transaction_session_timeout",
    "25P04": "transaction_timeout",
    "25001": "active_sql_transaction",
    "40002": "transaction_integrity_constraint_violation",
    "55006": "object_in_use",
    "58030": "io_error",
    "XX001": "data_corrupted",
}
FAULT = {
    "22021": "character_not_in_repertoire",
    "22P02": "invalid_text_representation",
    "23502": "not_null_violation",
    "23505": "unique_violation",
    "23514": "check_violation",
    "42601": "syntax_error",
    "42P01": "undefined_table",
}


@pytest.mark.parametrize("sqlstate", TROUBLE, ids=TROUBLE.values())
def test_line_27_a_transient_failure_is_never_the_messages_fault(sqlstate: str) -> None:
    assert is_trouble(errors.lookup(sqlstate)("as scripted"))


@pytest.mark.parametrize("sqlstate", FAULT, ids=FAULT.values())
def test_line_27_every_other_state_may_be_one_messages_fault_and_is_unavailability_until_that_shows(
    sqlstate: str,
) -> None:
    error = errors.lookup(sqlstate)("as scripted")
    assert not is_trouble(error)
    assert type(unavailable(error)) is StatementFailed
    assert issubclass(StatementFailed, StoreUnavailable), "no loop, task or request may end over it"


def test_line_27_an_error_without_a_state_is_trouble_where_the_connection_is_to_blame() -> None:
    assert is_trouble(psycopg.OperationalError("the connection is closed"))
    assert is_trouble(psycopg.InterfaceError("the connection is closed"))
    assert is_trouble(psycopg.DatabaseError("server closed the connection unexpectedly"))
    assert not is_trouble(psycopg.DataError("a NUL in a text"))
    assert not is_trouble(psycopg.ProgrammingError("the wrong parameters"))


def test_a_transaction_commits_when_it_is_left_and_rolls_back_on_an_exception(store: Store) -> None:
    with store.transaction() as tx:
        run(tx, "insert into leases values ('kept', 'me', now())")
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        _insert_and_fail(tx)
    with store.transaction() as tx:
        assert run(tx, "select string_agg(name, ',') from leases") == "kept"


def _insert_and_fail(tx: PostgresTransaction) -> None:
    run(tx, "insert into leases values ('lost', 'me', now())")
    raise ZeroDivisionError


def test_a_constraint_may_be_the_messages_fault_and_the_session_goes_on(store: Store) -> None:
    with pytest.raises(StatementFailed, match="23514"), store.transaction() as tx:
        run(tx, "insert into outbox (count, batch) values (0, '')")
    with store.transaction() as tx:
        assert tx.outbox_age_ms() == 0


def test_a_session_that_is_ended_from_outside_is_trouble_and_the_next_one_is_new(store: Store) -> None:
    with pytest.raises(StoreUnavailable, match="57P01"), store.transaction() as tx:
        run(tx, "select pg_terminate_backend(pg_backend_pid())")
    with store.transaction() as tx:
        assert tx.outbox_age_ms() == 0


def test_line_28_a_commit_without_an_answer_is_trouble(store: Store, database: str) -> None:
    with pytest.raises(StoreUnavailable), store.transaction() as tx:
        _insert_and_lose_the_session(tx, database)
    with store.transaction() as tx:
        assert run(tx, "select count(*) from leases") == 0


def _insert_and_lose_the_session(tx: PostgresTransaction, database: str) -> None:
    run(tx, "insert into leases values ('lost', 'me', now())")
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s, 5000)", (tx._pipeline.backend_pid,))


def test_a_session_on_a_standby_is_not_used_again(store: Store) -> None:
    pids: list[int] = []
    with pytest.raises(StoreUnavailable, match="25006"), store.transaction() as tx:
        _write_on_a_standby(tx, pids)
    with store.transaction() as tx:
        assert tx._pipeline.backend_pid not in pids


def _write_on_a_standby(tx: PostgresTransaction, pids: list[int]) -> None:
    pids.append(tx._pipeline.backend_pid)
    run(tx, "set transaction read only")
    run(tx, "insert into leases values ('x', 'me', now())")


def test_a_database_that_cannot_be_reached_is_trouble(tmp_path: Path) -> None:
    away = PostgresStore(f"host={tmp_path} dbname=nobody", PostgresTransaction)
    with pytest.raises(StoreUnavailable, match="no connection"), away.transaction():
        pytest.fail("there is no database")
    away.close()


def test_a_pool_that_is_used_up_is_trouble(store: Store) -> None:
    store._pool._wait_s = 0.1
    with (
        store.transaction(),
        store.transaction(),
        pytest.raises(StoreUnavailable, match="no connection"),
        store.transaction(),
    ):
        pytest.fail("there are only two connections")
    with store.transaction() as tx:
        assert tx.outbox_age_ms() == 0


def test_line_26_rows_that_may_not_exist_yet_are_locked_all_the_same(store: Store) -> None:
    with store.transaction() as first:
        first.lock_fences("payment", [saga_id(1)])
        with pytest.raises(StoreUnavailable, match="55P03"), store.transaction() as second:
            _lock_without_waiting(second, "payment", [saga_id(2), saga_id(1)])
        with store.transaction() as second:
            _lock_without_waiting(second, "order", [saga_id(1)])
        first.save_fences("payment", [Fence(saga_id(1), FenceState.DONE)], ())
    with store.transaction() as tx:
        assert tx.lock_fences("payment", [saga_id(1)])[saga_id(1)].state is FenceState.DONE


def _lock_without_waiting(tx: PostgresTransaction, step: str, ids: list[str]) -> None:
    run(tx, "set local lock_timeout = '50ms'")
    assert tx.lock_fences(step, ids) == {}
    tx.save_fences(step, [], ids)


def test_time_is_the_databases_and_stands_still_in_a_transaction(store: Store) -> None:
    with store.transaction() as tx:
        before = tx.now_ms()
        assert before == run(tx, "select (extract(epoch from now()) * 1000)::bigint")
        run(tx, "select pg_sleep(0.005)")
        assert tx.now_ms() == before


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("statement_timeout", "30s"),
        ("lock_timeout", "1s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("client_connection_check_interval", "5s"),
        ("transaction_isolation", "read committed"),
        ("plan_cache_mode", "force_generic_plan"),
        ("synchronous_commit", "on"),
        ("TimeZone", "UTC"),
        ("application_name", "holdfast"),
    ],
)
def test_every_session_is_bounded_and_set_alike(store: Store, setting: str, value: str) -> None:
    with store.transaction() as tx:
        assert run(tx, f"show {setting}") == value
