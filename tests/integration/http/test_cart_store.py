"""cart-crud's store on PostgreSQL reads and writes what its twin in memory does; races and plans besides."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.messaging.database_session import SESSION
from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.runtime.migrations import migrate
from holdfast.services.cart_crud.cart_edits import Edit, Price, RemoveOne, SetAll, SetOne
from holdfast.services.cart_crud.cart_service import CartService
from holdfast.services.cart_crud.domain import Cart
from holdfast.services.cart_crud.memory_store import MemoryCartTransaction
from holdfast.services.cart_crud.store import SQL, PostgresCartTransaction

PACKAGES = ("holdfast.messaging", "holdfast.services.cart_crud")
PRICES = [Price("a", 100, "GBP"), Price("b", 250, "GBP"), Price("e", 7, "EUR")]


@pytest.fixture
def store(database: str) -> Iterator[PostgresStore[PostgresCartTransaction]]:
    migrate(database, PACKAGES, Event().wait)
    made = PostgresStore(database, PostgresCartTransaction)
    yield made
    made.close()


def stocked(store: Any) -> CartService:
    shop = CartService(store)
    shop.set_prices("oscar", PRICES)
    return shop


users = st.sampled_from(("ada", "eve"))
carts = st.sampled_from(("c-1", "c-2", "c-3"))
skus = st.sampled_from(("a", "b", "e", "none"))
changes = st.one_of(
    st.builds(SetAll, st.lists(st.tuples(skus, st.integers(1, 60_000)), max_size=4).map(tuple)),
    st.builds(SetOne, skus, st.integers(1, 100)),
    st.builds(RemoveOne, skus),
)
versions = st.none() | st.integers(0, 5)
groups = st.lists(
    st.lists(st.builds(Edit, carts, users, changes, versions), min_size=1, max_size=5), max_size=5
)


@given(groups)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_both_stores_answer_the_same_edits_alike(
    store: PostgresStore[PostgresCartTransaction], edits: list[list[Edit]]
) -> None:
    with store.transaction() as tx:
        tx.write("truncate cart, product, operator_actions restart identity")
    real, twin = stocked(store), stocked(MemoryStore(MemoryCartTransaction, lambda: 0))
    owned = [(cart, user) for cart in ("c-1", "c-2", "c-3") for user in ("ada", "eve")]
    for group in edits:
        assert real.edit(group) == twin.edit(group)
        assert real.read(owned) == twin.read(owned)
        assert real.snapshots(owned) == twin.snapshots(owned)
    for after, limit in (("", 2), ("a", 2), ("b", 5), ("z", 1)):
        assert real.prices(after, limit) == twin.prices(after, limit)


def test_holding_is_seen_by_the_participant_and_logged(store: PostgresStore[PostgresCartTransaction]) -> None:
    shop = stocked(store)
    shop.edit([Edit("c-1", "ada", SetAll((("a", 1),)))])
    key = ("c-1", "ada")
    assert shop.hold("oscar", "c-1", "fraud check", held=True) == key
    assert shop.hold("oscar", "none", "fraud check", held=True) is None
    with store.transaction() as tx:
        assert tx.lock_carts({key})[key].held == "fraud check"
    assert shop.hold("oscar", "c-1", "cleared up", held=False) == key
    with store.transaction() as tx:
        assert tx.lock_carts({key})[key].held == ""
        log = tx.read("select operator, action, target, reason from operator_actions order by id")
    assert log[1:] == [
        ("oscar", "hold", "c-1 of ada", "fraud check"),
        ("oscar", "release", "c-1 of ada", "cleared up"),
    ]


def test_two_users_who_make_carts_of_the_same_id_at_once_each_have_their_own(
    store: PostgresStore[PostgresCartTransaction],
) -> None:
    shop = stocked(store)
    together = threading.Barrier(8)

    def make(number: int) -> Any:
        together.wait(10)
        return shop.edit([Edit("c-1", "ada" if number % 2 else "eve", SetAll((("a", number + 1),)))])[0]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(make, range(8)))
    for user in ("ada", "eve"):
        made = [cart for cart, _ in answers if cart.user_id == user]
        assert sorted(cart.version for cart in made) == [1, 2, 3, 4], "none of a user's own edits is lost"
        [kept] = shop.read([("c-1", user)])
        assert kept is not None
        assert kept[0] == max(made, key=lambda cart: cart.version)


def test_a_snapshot_reads_carts_and_prices_at_one_moment(
    store: PostgresStore[PostgresCartTransaction], database: str
) -> None:
    """Prices change together with a cart, over and over; no snapshot may see one without the other."""
    shop = stocked(store)
    shop.edit([Edit("c-1", "ada", SetAll((("a", 1),)))])
    over = Event()

    def change() -> None:
        n = 1
        while not over.is_set():
            n += 1
            with store.transaction() as tx:
                tx.save_carts([Cart("c-1", "ada", n, (("a", n),))])
                tx.save_prices([Price("a", n, "GBP")])

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(200):
            snapshot = shop.snapshots([("c-1", "ada")])[0]
            line = snapshot.lines[0]
            assert snapshot.version == line.quantity == line.unit_price_minor or snapshot.version == 1
    finally:
        over.set()
        changer.join(10)


def test_reads_use_keys_however_large_the_tables_are(
    store: PostgresStore[PostgresCartTransaction], database: str
) -> None:
    """The plans are made on empty tables, as in a process that has just started."""
    with psycopg.connect(database, options=SESSION) as connection:
        plan = _plan(connection, SQL["select_carts"], cart_ids=["c-1"], user_ids=["ada"])
        assert "cart_pkey" in plan
        assert "product_pkey" in plan
        assert "Seq Scan" not in plan
        assert "product_pkey" in _plan(connection, SQL["select_prices"], skus=["a"])
        assert "product_pkey" in _plan(connection, SQL["select_price_page"], after="a", limit=5)


def _plan(connection: psycopg.Connection[Any], statement: Any, **values: Any) -> str:
    rows: Callable[[], list[Any]] = connection.execute("explain " + statement, values).fetchall
    return "\n".join(row[0] for row in rows())
