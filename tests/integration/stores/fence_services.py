"""The four participants on PostgreSQL, a command that each does or refuses, and what its tables must hold."""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from tests.integration.stores.fence_rows import CardCompany, OnPostgres, ports_on
from tests.samples import NOT_AFTER_MS

from holdfast.contracts.messages import (
    ClearCart,
    CreateOrder,
    Line,
    Payload,
    ProcessPayment,
    ReserveInventory,
)
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.messaging.database import PostgresTransaction
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.runtime.migrations import migrate
from holdfast.services.cart_crud import main as cart_crud
from holdfast.services.cart_crud.domain import Cart
from holdfast.services.cart_crud.handlers import MESSAGES as CART
from holdfast.services.cart_crud.store import PostgresCartTransaction
from holdfast.services.inventory_write import main as inventory_write
from holdfast.services.inventory_write.handlers import MESSAGES as INVENTORY
from holdfast.services.inventory_write.store import PostgresInventoryTransaction
from holdfast.services.order_create import main as order_create
from holdfast.services.order_create.handlers import MESSAGES as ORDER
from holdfast.services.order_create.store import PostgresOrderTransaction
from holdfast.services.payment_gateway import main as payment_gateway
from holdfast.services.payment_gateway.domain import ProviderRequest
from holdfast.services.payment_gateway.handlers import MESSAGES as PAYMENT
from holdfast.services.payment_gateway.store import PostgresPaymentTransaction

ORDER_MAX = 1000
FULL = (("A", 3), ("B", 1))


class Participant(Protocol):
    """`command` sets the stage for a saga and returns its do; `expected` is written by hand, by row."""

    on: OnPostgres

    def command(self, saga: str, *, refused: bool, not_after_ms: int = NOT_AFTER_MS) -> Payload: ...

    def facts(self, saga: str) -> Any: ...

    def expected(self, saga: str, row: str, before: str = "none") -> Any: ...


@dataclass
class Inventory:
    on: OnPostgres

    def command(self, saga: str, *, refused: bool, not_after_ms: int = NOT_AFTER_MS) -> Payload:
        with self.on.store.transaction() as tx:
            tx.set_initial_stock([(saga, 10)])
        return ReserveInventory((Line(saga, 11 if refused else 2, 100),), not_after_ms)

    def facts(self, saga: str) -> Any:
        """Return pieces on hand, reserved and sold, and the movements."""
        moved = self.on.select("select direction from stock_movement where saga_id = %s order by 1", saga)
        [stock] = self.on.select("select on_hand, reserved, sold from stock where sku = %s", saga)
        return stock, [direction for (direction,) in moved]

    def expected(self, saga: str, row: str, before: str = "none") -> Any:
        return {
            "none": ((10, 0, 0), []),
            "DONE": ((8, 2, 0), ["reserve"]),
            "REFUSED": ((10, 0, 0), []),
            "UNDONE": ((10, 0, 0), ["release", "reserve"]),
            "TOMBSTONE": ((10, 0, 0), []),
            "CONFIRMED": ((8, 0, 2), ["reserve", "sell"]),
        }[row]


@dataclass
class Payments:
    on: OnPostgres
    provider: CardCompany

    def command(self, saga: str, *, refused: bool, not_after_ms: int = NOT_AFTER_MS) -> Payload:
        if refused:
            self.provider.declined.add(saga)
        return ProcessPayment("ada", "pm_card_visa", 500, "GBP", not_after_ms)

    def facts(self, saga: str) -> Any:
        """Return charge, refund and decline, the calls that wait, and those that the provider got."""
        rows = self.on.select(
            "select charge_id, refund_id, decline_code from payment where saga_id = %s", saga
        )
        timers = self.on.select("select verb from timers where saga_id = %s order by 1", saga)
        asked = [ask for of, ask in self.provider.calls if of == saga]
        return rows, [verb for (verb,) in timers], asked

    def expected(self, saga: str, row: str, before: str = "none") -> Any:
        intent, charge, refund = ("", "", ""), f"charge-{saga}", f"refund-{saga}"
        charged: Any = ([(charge, "", "")], [], [ProviderRequest.CHARGE])
        return {
            "none": ([], [], []),
            "RUNNING": ([intent], ["do"], []),
            "DONE": charged,
            "REFUSED": ([("", "", "generic_decline")], [], [ProviderRequest.CHARGE]),
            "UNDOING": ([(charge, "", "")], ["undo"], [ProviderRequest.CHARGE]),
            "UNDONE": ([(charge, refund, "")], [], [ProviderRequest.CHARGE, ProviderRequest.REFUND]),
            "TOMBSTONE": ([intent] if before == "RUNNING" else [], [], []),
            "CONFIRMED": charged,
        }[row.partition(" ")[0]]


@dataclass
class Orders:
    on: OnPostgres

    def command(self, saga: str, *, refused: bool, not_after_ms: int = NOT_AFTER_MS) -> Payload:
        price = ORDER_MAX + 1 if refused else ORDER_MAX
        return CreateOrder("ada", "GBP", price, (Line("A", 1, price),), not_after_ms)

    def facts(self, saga: str) -> Any:
        """Return the order's status and total."""
        return self.on.select("select status, total_minor from orders where saga_id = %s", saga)

    def expected(self, saga: str, row: str, before: str = "none") -> Any:
        status = {"DONE": "PENDING", "UNDONE": "CANCELED", "CONFIRMED": "PLACED"}.get(row)
        return [(status, ORDER_MAX)] if status else []


@dataclass
class Carts:
    on: OnPostgres

    def command(self, saga: str, *, refused: bool, not_after_ms: int = NOT_AFTER_MS) -> Payload:
        with self.on.store.transaction() as tx:
            tx.insert_carts([Cart(saga, "ada", 1, FULL)])
            tx.hold_cart((saga, "ada"), "fraud check" if refused else "")
        return ClearCart("ada", saga, 1, (Line("A", 2, 100),))

    def facts(self, saga: str) -> Any:
        """Return the cart's version and pieces, and how often it was cleared."""
        cleared = self.on.select("select cart_id from clear_log where saga_id = %s", saga)
        with self.on.store.transaction() as tx:
            carts = tx.lock_carts([(saga, "ada")])
        return [(cart.version, cart.pieces) for cart in carts.values()], len(cleared)

    def expected(self, saga: str, row: str, before: str = "none") -> Any:
        return ([(2, (("A", 1), ("B", 1)))], 1) if row == "DONE" else ([(1, FULL)], 0)


@contextmanager
def connect(server: EmbeddedPostgres) -> Iterator[dict[str, Participant]]:
    """Put all four together, each on a fresh database of `server`."""
    with ExitStack() as stack:

        def store(package: str, transaction: type[PostgresTransaction]) -> tuple[PostgresStore[Any], str]:
            name = f"fence_{os.getpid()}_{uuid.uuid4().hex[:8]}"
            server.ensure_database(name)
            stack.callback(server.drop_database, name)
            migrate(server.dsn(name), ["holdfast.messaging", f"holdfast.services.{package}"], time.sleep)
            made: PostgresStore[Any] = PostgresStore(server.dsn(name), transaction, size=2)
            stack.callback(made.close)
            return made, server.dsn(name)

        stock, stock_dsn = store("inventory_write", PostgresInventoryTransaction)
        money, money_dsn = store("payment_gateway", PostgresPaymentTransaction)
        orders, orders_dsn = store("order_create", PostgresOrderTransaction)
        carts, carts_dsn = store("cart_crud", PostgresCartTransaction)
        provider = CardCompany()
        paying = payment_gateway.build(ports_on(money), provider)
        taking = order_create.build(ports_on(orders), ORDER_MAX)
        yield {
            "inventory": Inventory(
                OnPostgres(inventory_write.build(ports_on(stock)), stock, INVENTORY, stock_dsn)
            ),
            "payment": Payments(OnPostgres(paying, money, PAYMENT, money_dsn, paying.charge_loop), provider),
            "order": Orders(OnPostgres(taking, orders, ORDER, orders_dsn)),
            "cart": Carts(OnPostgres(cart_crud.build(ports_on(carts)), carts, CART, carts_dsn)),
        }
