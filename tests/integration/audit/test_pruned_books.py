"""Books whose old sagas were pruned by the services themselves: still clean, and no place to hide in."""

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from tests.books_harness import LINES, BooksHarness

from holdfast.audit import Money, run_on
from holdfast.bus.memory import MemoryBus
from holdfast.contracts.topics import CART, GATEWAY, INVENTORY, ORCHESTRATOR, ORDER, PAYMENT
from holdfast.messaging.components import Ports
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.messaging.pruner import Pruner, Retention
from holdfast.services.cart_crud import main as cart_crud
from holdfast.services.cart_crud.store import PostgresCartTransaction
from holdfast.services.checkout_orchestrator import main as checkout_orchestrator
from holdfast.services.checkout_orchestrator.store import PostgresSagaTransaction
from holdfast.services.gateway_bff import main as gateway_bff
from holdfast.services.gateway_bff.store import PostgresGatewayTransaction
from holdfast.services.inventory_write import main as inventory_write
from holdfast.services.inventory_write.store import PostgresInventoryTransaction
from holdfast.services.order_create import main as order_create
from holdfast.services.order_create.store import PostgresOrderTransaction
from holdfast.services.payment_gateway import main as payment_gateway
from holdfast.services.payment_gateway.store import PostgresPaymentTransaction

VALUE = sum(line.quantity * line.unit_price_minor for line in LINES)
AT_ONCE = Retention(0, 0, 0)
PRUNERS: dict[str, tuple[type[Any], Callable[[Ports[Any], Retention], Pruner[Any]]]] = {
    ORCHESTRATOR: (PostgresSagaTransaction, checkout_orchestrator.pruner),
    GATEWAY: (PostgresGatewayTransaction, gateway_bff.pruner),
    INVENTORY: (PostgresInventoryTransaction, inventory_write.pruner),
    PAYMENT: (PostgresPaymentTransaction, payment_gateway.pruner),
    ORDER: (PostgresOrderTransaction, order_create.pruner),
    CART: (PostgresCartTransaction, cart_crud.pruner),
}


def prune(world: BooksHarness, service: str) -> int:
    """Let a service prune all that has ended; return how many rows of its main table went."""
    transaction, make = PRUNERS[service]
    if service == ORCHESTRATOR:
        world.run(service, "update saga set ended_ms = 1 where ended_ms > 0")  # a world's clock is ahead
    store = PostgresStore(world.dsns[service], transaction, size=1)
    pruner = make(Ports(store, MemoryBus(lambda: 0.0), lambda: 0, "me", 4), AT_ONCE)
    while not pruner.passes:
        pruner.prune_page()
    store.close()
    return sum(pruner.rows.values())


def fill(world: BooksHarness) -> dict[str, str]:
    return {
        "completed": world.completed(),
        "inventory": world.failed_at_inventory(),
        "payment": world.failed_at_payment(),
        "order": world.failed_at_order(),
        "cart": world.failed_at_cart(),
    }


@pytest.mark.parametrize("services", [tuple(PRUNERS), *((name,) for name in PRUNERS)], ids="+".join)
def test_books_are_clean_whoever_has_pruned(world: BooksHarness, services: tuple[str, ...]) -> None:
    fill(world)
    for service in services:
        assert prune(world, service) > 0
    fill(world)  # younger ones, beside what was pruned
    world.cancelled_before_start()
    report = run_on(world.sources, 0)
    assert report.violations == []
    assert report.exit_code == 0
    # What failed before anything was done left no trace but in the rows that were pruned.
    untold = len({ORCHESTRATOR, GATEWAY} & set(services)) == 2
    assert report.counts == {"COMPLETED": 2, "FAILED": 8 if untold else 9}
    assert report.money["GBP"] == Money(charged=6 * VALUE, refunded=4 * VALUE, completed=2 * VALUE)


def lose_charge(world: BooksHarness, saga_id: str) -> None:
    ledger = sqlite3.connect(world.ledger_path)
    for (name,) in ledger.execute("select name from sqlite_master where type = 'trigger'").fetchall():
        ledger.execute(f"drop trigger {name}")
    ledger.execute("delete from entries where saga_id = ?", [saga_id])
    ledger.commit()
    ledger.close()


def sql(service: str, statement: str) -> Callable[[BooksHarness, str], None]:
    return lambda world, saga_id: world.run(service, statement.replace(":saga", f"'{saga_id}'"))


CASES: dict[str, tuple[str, Callable[[BooksHarness, str], None], str]] = {
    "a lost charge": ("completed", lose_charge, "I01 I02 I03"),
    "a lost refund": (
        "order",
        sql(PAYMENT, "update payment set refund_id = '' where saga_id = :saga"),
        "I03",
    ),
    "a lost order": ("completed", sql(ORDER, "delete from orders where saga_id = :saga"), "I01 I02 I08 I14"),
    "an order never placed": (
        "completed",
        sql(ORDER, "update orders set status = 'PENDING' where saga_id = :saga"),
        "I01 I02 I08 I09 I14",
    ),
    "an order that says more": (
        "completed",
        sql(ORDER, "update orders set total_minor = total_minor + 1 where saga_id = :saga"),
        "I01 I02 I05",
    ),
    "a sale that is not in the movements": (
        "completed",
        sql(INVENTORY, "delete from stock_movement where saga_id = :saga and direction = 'sell'"),
        "I06 I08",
    ),
    "a reservation never released": (
        "payment",
        sql(INVENTORY, "delete from stock_movement where saga_id = :saga and direction = 'release'"),
        "I06 I08",
    ),
    "a cart that was never cleared": (
        "completed",
        sql(CART, "delete from clear_log where saga_id = :saga"),
        "I14",
    ),
    "a step of a failed saga that is held": (
        "order",
        sql(ORDER, "insert into fence (saga_id, step, state) values (:saga, 'order', 'DONE')"),
        "I12",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_a_pruned_saga_is_named(world: BooksHarness, case: str) -> None:
    which, plant, named = CASES[case]
    sagas = fill(world)
    for service in PRUNERS:
        prune(world, service)
    plant(world, sagas[which])
    report = run_on(world.sources, 0)
    assert {each.invariant for each in report.violations} == set(named.split())
    keys = {each.key for each in report.violations}
    assert keys <= {sagas[which], "GBP", *(line.sku for line in LINES)}


def test_a_young_saga_that_is_missing_is_missed(world: BooksHarness) -> None:
    fill(world)
    prune(world, ORCHESTRATOR)
    young = world.completed()
    world.run(ORCHESTRATOR, "update pruned set before_id = %s", young)
    world.run(ORCHESTRATOR, "delete from saga where saga_id = %s", young)
    report = run_on(world.sources, 0)
    named = {(each.invariant, each.key) for each in report.violations}
    assert {("I08", young), ("I09", young), ("I14", young), ("I29", young)} <= named
