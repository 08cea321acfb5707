"""Statements that PostgreSQL refuses: a server's trouble parks nobody, and one bad message is found.

Also what a probe of writes notices, and that it costs nothing.
"""

import secrets
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.integration.messaging.inventory_harness import Inventory, Store
from tests.samples import saga_id

from holdfast.messaging.postgres_store import PostgresStore
from holdfast.messaging.store import StatementFailed, StoreUnavailable
from holdfast.messaging.write_probe import PROBE_EVERY_MS, WriteProbe
from holdfast.runtime.readiness import readiness_failures
from holdfast.services.inventory_write.store import PostgresInventoryTransaction

REFUSES = """
create function refuse() returns trigger language plpgsql as
$$ begin raise exception 'as scripted' using errcode = '{state}'; end $$;
create trigger refuse before insert on stock_movement for each row {when} execute function refuse();
"""


@pytest.fixture
def owner(database: str) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def rounds(inventory: Inventory, count: int, first: int) -> None:
    for n in range(first, first + count):
        inventory.now_ms += 3_000
        inventory.send(n)
        inventory.step()


@pytest.mark.parametrize("state", ["54000", "42501", "23514", "P0001", "0A000", "72000"])
def test_line_27_one_message_that_any_state_meets_alone_is_parked_and_no_other(
    inventory: Inventory, owner: "psycopg.Connection[Any]", state: str
) -> None:
    owner.execute(REFUSES.format(state=state, when=f"when (new.saga_id = '{saga_id(7)}')"))
    inventory.send(*range(1, 21))
    inventory.step()
    assert inventory.answered() == {saga_id(n) for n in range(1, 21) if n != 7}
    rounds(inventory, 4, 21)
    assert (inventory.parked(), inventory.unread()) == (1, 0)
    assert inventory.parts.manager.counters.transient_failures == 0


@pytest.mark.parametrize("state", ["54000", "58030", "XX000", "25P03", "42501"])
def test_line_27_a_state_that_meets_all_of_a_type_parks_nobody_and_heals(
    inventory: Inventory, owner: "psycopg.Connection[Any]", state: str
) -> None:
    owner.execute(REFUSES.format(state=state, when=""))
    inventory.send(*range(1, 21))
    inventory.step()
    rounds(inventory, 8, 21)
    assert (inventory.parked(), inventory.answered()) == (0, set())
    owner.execute("drop trigger refuse on stock_movement")
    rounds(inventory, 4, 29)
    assert inventory.answered() == {saga_id(n) for n in range(1, 33)}
    assert (inventory.parked(), inventory.unread()) == (0, 0)


def test_line_27_a_parking_that_is_refused_is_tried_again_and_holds_nobody_up(
    inventory: Inventory, owner: "psycopg.Connection[Any]"
) -> None:
    owner.execute(REFUSES.format(state="54000", when=f"when (new.saga_id = '{saga_id(7)}')"))
    owner.execute("alter table parked add constraint full_of_it check (false) not valid")
    inventory.send(*range(1, 21))
    rounds(inventory, 8, 21)
    assert inventory.answered() == {saga_id(n) for n in range(1, 29) if n != 7}
    owner.execute("alter table parked drop constraint full_of_it")
    rounds(inventory, 4, 29)
    assert (inventory.parked(), inventory.unread()) == (1, 0)


def test_a_refused_statement_is_told_from_trouble_and_ends_no_session(
    store: Store, owner: "psycopg.Connection[Any]"
) -> None:
    owner.execute(REFUSES.format(state="54000", when=""))
    with pytest.raises(StatementFailed, match="54000"), store.transaction() as tx:
        tx.write("insert into stock_movement values (gen_random_uuid(), 'reserve', '{}', '{}')")
    with store.transaction() as tx:
        assert tx.outbox_age_ms() == 0


def test_a_probe_writes_nothing(store: Store, owner: "psycopg.Connection[Any]") -> None:
    def written() -> tuple[Any, ...]:
        row = owner.execute(
            "select pg_current_xact_id_if_assigned(), pg_snapshot_xmax(pg_current_snapshot()), n_tup_ins"
            " from pg_stat_user_tables where relname = 'outbox'"
        ).fetchone()
        assert row is not None
        return tuple(row)

    with store.transaction() as tx:
        tx.probe_writes()
    before = written()
    for _ in range(20):
        with store.transaction() as tx:
            tx.probe_writes()
            assert tx.read("select pg_current_xact_id_if_assigned()") == [(None,)]
    assert written() == before, "no transaction id was used, so nothing is in the WAL"


def test_a_probe_notices_a_read_only_server(store: Store) -> None:
    with pytest.raises(StoreUnavailable, match="25006"), store.transaction() as tx:
        _probe(tx, "set transaction read only")


def test_a_probe_needs_room_on_the_disk(store: Store) -> None:
    """A limit on temporary files stands for a full disk: both refuse the one file that the probe writes."""
    with pytest.raises(StoreUnavailable, match="53400"), store.transaction() as tx:
        _probe(tx, "set local temp_file_limit = '8kB'")


def _probe(tx: PostgresInventoryTransaction, after: LiteralString) -> None:
    tx.write(after)
    tx.probe_writes()


RIGHTS = [("insert", "outbox"), ("update", "stock"), ("insert", "stock_movement")]


@pytest.mark.parametrize(("right", "table"), RIGHTS)
def test_a_probe_names_the_table_that_the_role_may_not_write(
    database: str, store: Store, owner: "psycopg.Connection[Any]", right: str, table: str
) -> None:
    role = f"probed_{secrets.token_hex(4)}"
    owner.execute(f"create role {role}")
    owner.execute(f"grant select, insert, update, delete on all tables in schema public to {role}")
    owner.execute(f"revoke {right} on {table} from {role}")
    limited = PostgresStore(
        make_conninfo(database, options=f"-c role={role}"), PostgresInventoryTransaction, size=1
    )
    try:
        with pytest.raises(StoreUnavailable, match=table), limited.transaction() as tx:
            tx.probe_writes()
        owner.execute(f"grant {right} on {table} to {role}")
        with limited.transaction() as tx:
            tx.probe_writes()
    finally:
        limited.close()
        owner.execute(f"drop owned by {role}")
        owner.execute(f"drop role {role}")


def test_readiness_follows_the_right_to_write_although_nothing_is_written(
    inventory: Inventory, owner: "psycopg.Connection[Any]"
) -> None:
    probe = WriteProbe()
    inventory.parts.manager.periodic_tasks.append(probe.periodic_task())
    manager = inventory.parts.manager

    def reasons() -> list[str]:
        for _ in range(3):
            inventory.now_ms += PROBE_EVERY_MS
            inventory.step()
        return readiness_failures(manager, probe)

    assert reasons() == []
    owner.execute("alter table stock rename to stocks")
    owner.execute("alter table outbox rename to outboxes")
    assert "the database takes no writes" in reasons()
    owner.execute("alter table stocks rename to stock")
    owner.execute("alter table outboxes rename to outbox")
    assert reasons() == []
