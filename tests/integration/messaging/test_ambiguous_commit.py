"""A connection cut exactly at COMMIT (protocol: 28): whether it arrived or not, nothing is lost or doubled.

Whoever runs the same work again finds its own marker first: history or fence row, key, the rows' new state.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from threading import Event
from typing import Any, cast

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tests.conformance.postgres_cutter import CommitCutter
from tests.databases import in_schemas
from tests.memory_platform import FakeProvider, MemoryPlatform
from tests.samples import saga_id

from holdfast.bus.memory import MemoryBus
from holdfast.contracts.http_api import Snapshot
from holdfast.contracts.messages import Line
from holdfast.contracts.topics import (
    CART,
    GATEWAY,
    INVENTORY,
    ORCHESTRATOR,
    ORDER,
    PARTITIONS_EMBEDDED,
    PAYMENT,
    all_topics,
)
from holdfast.messaging import outbox_rescuer
from holdfast.messaging.components import Ports
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.messaging.store import StoreUnavailable
from holdfast.runtime.migrations import migrate
from holdfast.services.cart_crud.cart_edits import Edit, Price, SetAll
from holdfast.services.cart_crud.cart_service import CartService
from holdfast.services.cart_crud.memory_store import MemoryCartTransaction
from holdfast.services.cart_crud.store import PostgresCartTransaction
from holdfast.services.checkout_orchestrator.memory_store import MemorySagaTransaction
from holdfast.services.checkout_orchestrator.store import PostgresSagaTransaction
from holdfast.services.gateway_bff.admission import (
    CheckoutAdmission,
    CheckoutResult,
    QueuedRequest,
    UpstreamFailed,
)
from holdfast.services.gateway_bff.domain import Accepted, CheckoutRequest
from holdfast.services.gateway_bff.main import build
from holdfast.services.gateway_bff.store import PostgresGatewayTransaction
from holdfast.services.inventory_write.memory_store import MemoryInventoryTransaction
from holdfast.services.inventory_write.store import PostgresInventoryTransaction
from holdfast.services.order_create.memory_store import MemoryOrderTransaction
from holdfast.services.order_create.store import PostgresOrderTransaction
from holdfast.services.payment_gateway.domain import ProviderCall, ProviderRequest
from holdfast.services.payment_gateway.domain import ProviderResult as Charged
from holdfast.services.payment_gateway.memory_store import MemoryPaymentTransaction
from holdfast.services.payment_gateway.store import PostgresPaymentTransaction

REAL: dict[type[Any], tuple[str, type[Any]]] = {
    MemorySagaTransaction: (ORCHESTRATOR, PostgresSagaTransaction),
    MemoryInventoryTransaction: (INVENTORY, PostgresInventoryTransaction),
    MemoryPaymentTransaction: (PAYMENT, PostgresPaymentTransaction),
    MemoryOrderTransaction: (ORDER, PostgresOrderTransaction),
    MemoryCartTransaction: (CART, PostgresCartTransaction),
}
both = pytest.mark.parametrize("arrives", [True, False], ids=["arrived", "never arrived"])


class CountingProvider(FakeProvider):
    """Counts the calls of every saga that would move money were they not repeats."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: Counter[tuple[str, ProviderRequest]] = Counter()

    def call(self, calls: Sequence[ProviderCall]) -> list[Charged]:
        self.keys.update((call.payment.saga_id, call.ask) for call in calls)
        return super().call(calls)


class Platform(MemoryPlatform):
    """Five services in one process, each with its real database behind a proxy of its own."""

    def __init__(self, dsns: dict[str, str], doors: dict[str, CommitCutter]) -> None:
        self._dsns = {service: through(dsns[service], door) for service, door in doors.items()}
        self._behind = {service: behind(dsns[service]) for service in doors}
        self.stores: list[PostgresStore[Any]] = []
        for service in doors:
            migrate(dsns[service], ["holdfast.messaging", package_of(service)], Event().wait)
        super().__init__({"mug": 1000})

    def _store(self, transaction_type: type[Any]) -> Any:
        service, real = REAL[transaction_type]
        self.stores.append(PostgresStore(self._dsns[service], real))
        return self.stores[-1]

    def run(self, saga: str, rounds_max: int = 200) -> None:
        """Let time pass until the saga has ended and no service has a message left to send."""
        quiet = 0
        for _ in range(rounds_max):
            self.advance(3_000)  # every task is due
            quiet = 0 if self._round() else quiet + 1
            if quiet > 2 and self.state(saga) in {"COMPLETED", "FAILED"} and self.count("outbox") == 0:
                return
        raise AssertionError(f"{saga} is {self.state(saga)} after {rounds_max} rounds")

    def close(self) -> None:
        for store in self.stores:
            store.close()
        for connection in self._behind.values():
            connection.close()

    def state(self, saga_id: str) -> str:
        """Read without the proxy, because a read commits as well."""
        statement = "select state from saga where saga_id = %s"
        row = self._behind[ORCHESTRATOR].execute(statement, [saga_id]).fetchone()
        return str(row[0]) if row else "NONE"

    def count(self, table: str) -> int:
        """Return how many rows the services have in this table."""
        statement = f"select 1 from {table}".encode()
        return sum(len(each.execute(statement).fetchall()) for each in self._behind.values())

    def _round(self) -> int:
        moved = 0
        for parts in self.parts:
            moved += parts.manager.run_once(0)
            moved += parts.relay.run_once(0)
        try:
            return moved + self.payment.charge_loop.run_once()
        except StoreUnavailable:
            return 1


def package_of(service: str) -> str:
    return f"holdfast.services.{service.replace('-', '_')}"


def behind(dsn: str) -> "psycopg.Connection[Any]":
    return psycopg.connect(dsn, autocommit=True)


def through(dsn: str, door: CommitCutter) -> str:
    return make_conninfo(dsn, port=door.port)


def door_to(dsn: str) -> CommitCutter:
    return CommitCutter(int(str(conninfo_to_dict(dsn)["port"])))


@pytest.fixture
def doors() -> dict[str, CommitCutter]:
    return {}


@pytest.fixture
def platform(
    database: str, doors: dict[str, CommitCutter], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Platform]:
    monkeypatch.setattr(outbox_rescuer, "STALE_AFTER_MS", 0)  # real seconds, of the database's clock
    dsns = in_schemas(database)
    doors.update((service, door_to(database)) for service, _ in REAL.values())
    made = Platform(dsns, doors)
    made.provider = made.payment.charge_loop._provider = CountingProvider()
    made.payment.charge_loop._lease_ms = 1
    yield made
    made.close()
    for door in doors.values():
        door.shut()


COMMITS_MAX = 12
"""More than a service makes in one of these checkouts, those of tasks included."""


@both
@pytest.mark.parametrize("service", [service for service, _ in REAL.values()])
def test_line_28_every_commit_of_a_service_may_go_unanswered(
    platform: Platform, doors: dict[str, CommitCutter], service: str, arrives: bool
) -> None:
    door, sagas = doors[service], []
    for skip in range(COMMITS_MAX):
        saga = saga_id(2 * skip + 1)
        lines = [("mug", 1)] if skip % 2 == 0 else [("mug", 2)]
        card = "pm_card_visa" if skip % 3 else "pm_card_declined"
        platform.put_cart(f"cart-{saga}", lines)
        platform.initiate(saga, lines, card=card)
        door.cut_next(arrives=arrives, skip=skip)
        platform.run(saga)
        door.cut_none()
        sagas.append((saga, "COMPLETED" if skip % 3 else "FAILED", lines[0][1]))
    assert door.cuts >= COMMITS_MAX // 2, "the cuts came where commits were"
    assert [platform.state(saga) for saga, _, _ in sagas] == [end for _, end, _ in sagas]
    sold = sum(pieces for _, end, pieces in sagas if end == "COMPLETED")
    with platform.inventory.transaction() as tx:
        (stock,) = tx.list_stock("", 10)
    assert (stock.on_hand, stock.reserved, stock.sold) == (1000 - sold, 0, sold)
    assert set(platform.provider.charges) == {saga for saga, end, _ in sagas if end == "COMPLETED"}
    assert platform.provider.refunds == {}
    assert platform.count("parked") == 0
    assert platform.count("timers") == 0


@pytest.fixture
def cutter(database: str) -> Iterator[CommitCutter]:
    door = door_to(database)
    yield door
    door.shut()


@both
def test_line_28_an_acceptance_is_answered_from_its_key(
    database: str, cutter: CommitCutter, arrives: bool
) -> None:
    migrate(database, ["holdfast.messaging", package_of(GATEWAY)], Event().wait)
    store = PostgresStore(through(database, cutter), PostgresGatewayTransaction)
    bus, numbers = MemoryBus(lambda: 0.0), count(1)
    bus.create_topics(all_topics(), PARTITIONS_EMBEDDED)
    ports = Ports(store, bus, lambda: 0, "me", PARTITIONS_EMBEDDED)
    parts = build(cast("Any", ports), lambda: next(numbers))
    snapshot = Snapshot(version=1, currency="GBP", total_minor=1000, lines=(Line("mug", 2, 500),))
    wanted = CheckoutRequest("ada", "k-1", b"body", "c-1", "pm_card_visa", snapshot)

    async def snapshots(owned: Sequence[tuple[str, str]]) -> list[Snapshot]:
        return [snapshot for _ in owned]

    door = CheckoutAdmission(store, parts.starter, snapshots, parts.breaker, parts.load_shedding, lambda: 0.0)

    def knock() -> CheckoutResult:
        return asyncio.run(door.serve([QueuedRequest(wanted, 0.0)]))[0]

    cutter.cut_next(arrives=arrives, skip=1)  # the first commit is of the look for the key
    first = knock()
    assert cutter.cuts == 1
    assert isinstance(first, Accepted if arrives else UpstreamFailed)
    second = knock()
    assert isinstance(second, Accepted)
    if isinstance(first, Accepted):
        assert second.checkout.saga_id == first.checkout.saga_id
        assert second.replayed
    with psycopg.connect(database) as connection:
        rows = connection.execute("select (select count(*) from checkout), (select count(*) from outbox)")
        assert rows.fetchone() == (1, 1)
    door.close()
    store.close()


@both
def test_line_28_edits_and_operators_acts_can_be_repeated(
    database: str, cutter: CommitCutter, arrives: bool
) -> None:
    migrate(database, ["holdfast.messaging", package_of(CART)], Event().wait)
    store = PostgresStore(through(database, cutter), PostgresCartTransaction)
    shop = CartService(store)

    def act(turn: int) -> Any:
        if turn == 0:
            return shop.set_prices("olga", [Price("mug", 500, "GBP")])
        if turn == 1:
            return shop.edit([Edit("c-1", "ada", SetAll((("mug", 2),)))])
        return shop.hold("olga", "c-1", "fraud check", held=True)

    for turn in range(3):
        cutter.cut_next(arrives=arrives)
        with pytest.raises(StoreUnavailable):
            act(turn)
        act(turn)
    assert cutter.cuts == 3
    found = shop.read([("c-1", "ada")])[0]
    assert found is not None
    cart, snapshot = found
    assert (cart.version, cart.pieces, snapshot.total_minor) == (1, (("mug", 2),), 1000)
    assert cart.held == "fraud check"
    store.close()


@both
def test_line_28_stock_that_is_set_twice_is_there_once(
    database: str, cutter: CommitCutter, arrives: bool
) -> None:
    migrate(database, ["holdfast.messaging", package_of(INVENTORY)], Event().wait)
    store = PostgresStore(through(database, cutter), PostgresInventoryTransaction)

    def set_stock() -> None:
        with store.transaction() as tx:
            tx.set_initial_stock([("mug", 100)])

    cutter.cut_next(arrives=arrives)
    with pytest.raises(StoreUnavailable):
        set_stock()
    set_stock()
    with store.transaction() as tx:
        assert [(row.sku, row.on_hand) for row in tx.list_stock("", 10)] == [("mug", 100)]
    store.close()
