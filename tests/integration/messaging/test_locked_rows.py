"""Rows that another instance holds: what needs them waits, all else goes on, and nothing is parked."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from tests.eventually import eventually
from tests.integration.messaging.inventory_harness import MANY, Inventory, Store
from tests.samples import saga_id

from holdfast.messaging.store import RowsUnavailable, StoreUnavailable
from holdfast.services.inventory_write.store import PostgresInventoryTransaction

LOCKED = 42

Frozen = psycopg.Connection[Any]


@pytest.fixture
def frozen(database: str) -> Iterator[Frozen]:
    """Another instance's session, with its transaction open for as long as the test likes."""
    with psycopg.connect(database) as connection:
        yield connection
        connection.rollback()


def hold_fence(frozen: Frozen) -> None:
    frozen.execute(
        "insert into fence (saga_id, step, state) values (%s, 'inventory', 'NEW')", [saga_id(LOCKED)]
    )


def hold_stock(frozen: Frozen) -> None:
    frozen.execute("select 1 from stock where sku = %s for update", [f"sku-{LOCKED}"])


def hold_many_fences(frozen: Frozen) -> None:
    """Everything that the instance had in its batch: half of what the survivor has in its own."""
    frozen.cursor().executemany(
        "insert into fence (saga_id, step, state) values (%s, 'inventory', 'NEW')",
        [[saga_id(n)] for n in range(1, MANY, 2)],
    )


@pytest.mark.parametrize("hold", [hold_fence, hold_stock])
def test_what_needs_no_held_row_is_answered_in_the_same_round(
    inventory: Inventory, frozen: Frozen, hold: Callable[[Frozen], None]
) -> None:
    hold(frozen)
    inventory.send(*range(1, MANY + 1))
    assert inventory.step() == MANY - 1
    assert inventory.answered() == {saga_id(n) for n in range(1, MANY + 1) if n != LOCKED}
    assert inventory.unread() > 0, "no offset passes the one that waits"
    assert inventory.parts.manager.counters.transient_failures == 0
    frozen.rollback()
    inventory.now_ms += 10_000
    assert inventory.step() == 1
    assert saga_id(LOCKED) in inventory.answered()
    assert (inventory.unread(), inventory.parked()) == (0, 0)


def test_a_whole_batch_that_is_held_delays_what_comes_after_it_for_a_bounded_number_of_waits(
    inventory: Inventory, frozen: Frozen
) -> None:
    hold_many_fences(frozen)
    inventory.send(*range(1, MANY + 1))
    inventory.step()
    inventory.send(*range(1_001, 1_011))  # unknown codes: they are refused, but answered
    assert inventory.step() == 10
    frozen.rollback()
    inventory.now_ms += 10_000
    inventory.step()
    assert {saga_id(n) for n in range(1, MANY + 1)} <= inventory.answered()
    assert (inventory.unread(), inventory.parked()) == (0, 0)


def test_a_held_outbox_row_holds_up_no_batch_and_is_left_to_its_holder(
    inventory: Inventory, frozen: Frozen
) -> None:
    inventory.send(1)
    inventory.step()
    assert inventory.answered() == {saga_id(1)}
    frozen.execute("delete from outbox")
    inventory.send(2)
    assert inventory.step() == 1
    assert inventory.parts.manager.counters.transient_failures == 0
    assert not inventory.parts.manager.deferred
    frozen.rollback()
    with inventory.store.transaction() as tx:
        assert tx.outbox_age_ms() > 0, "it did not delete it after all: it is published again later"


def ended_by_the_server(tx: PostgresInventoryTransaction, database: str) -> None:
    """Be frozen in the middle of this transaction, until the server has ended it."""
    pid = tx._pipeline.backend_pid
    tx.read("select set_config('idle_in_transaction_session_timeout', '20ms', true)")
    with psycopg.connect(database, autocommit=True) as other:
        gone = "select 1 from pg_stat_activity where pid = %s"
        eventually(lambda: not other.execute(gone, [pid]).fetchall(), "the server ends the transaction")


def write_and_freeze(
    store: Store, database: str, then: Callable[[PostgresInventoryTransaction], Any]
) -> None:
    with store.transaction() as tx:
        tx.set_initial_stock([("mug", 1)])
        ended_by_the_server(tx, database)
        then(tx)


@pytest.mark.parametrize("then", [lambda tx: tx.now_ms(), lambda _: None], ids=["a statement", "its commit"])
def test_a_transaction_that_the_server_ended_is_trouble_whatever_comes_next(
    store: Store, database: str, then: Callable[[PostgresInventoryTransaction], Any]
) -> None:
    with pytest.raises(StoreUnavailable):
        write_and_freeze(store, database, then)
    with store.transaction() as tx:
        assert tx.list_stock("", 10) == []


def test_an_instance_that_thaws_parks_nothing_and_handles_its_batch_again(
    inventory: Inventory, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory.send(1)  # alone in its batch: there is nobody else to blame
    lock_stock = PostgresInventoryTransaction.lock_stock

    def freeze(tx: PostgresInventoryTransaction, skus: Any) -> Any:
        monkeypatch.setattr(PostgresInventoryTransaction, "lock_stock", lock_stock)
        ended_by_the_server(tx, database)
        return tx.lock_stock(skus)

    monkeypatch.setattr(PostgresInventoryTransaction, "lock_stock", freeze)
    assert inventory.step() == 0
    assert inventory.parts.manager.counters.transient_failures == 1
    assert inventory.step() == 1
    assert inventory.answered() == {saga_id(1)}
    assert (inventory.unread(), inventory.parked()) == (0, 0)


def lock_within(store: Store, wait_ms: int, sku: str) -> None:
    with store.transaction() as tx:
        tx.limit_lock_wait(wait_ms)
        assert tx.read("show lock_timeout") == [(f"{wait_ms}ms",)]
        tx.lock_stock([sku])


def test_a_wait_for_a_lock_is_bounded_as_the_transaction_says(store: Store, frozen: Frozen) -> None:
    with store.transaction() as tx:
        tx.set_initial_stock([(f"sku-{LOCKED}", 1)])
    hold_stock(frozen)
    with pytest.raises(RowsUnavailable, match="55P03"):
        lock_within(store, 20, f"sku-{LOCKED}")
    with store.transaction() as tx:
        assert tx.read("show lock_timeout") == [("1s",)]
