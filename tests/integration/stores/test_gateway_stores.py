"""gateway-bff: the same checkouts are accepted, found, ended and pruned on both stores."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.stores.store_pairs import HOUR_MS, START_MS, StorePair, Work, in_turn, sequences
from tests.samples import saga_id

from holdfast.messaging.store import PrunePage
from holdfast.services.gateway_bff.domain import COMPLETED, FAILED, Checkout, CheckoutEnd
from holdfast.services.gateway_bff.memory_store import MemoryGatewayTransaction
from holdfast.services.gateway_bff.store import PostgresGatewayTransaction

ALL = [saga_id(n) for n in range(1, 9)]
SAGAS = st.sampled_from(ALL)
USERS = st.sampled_from(["ada", "bob"])
KEYS = st.sampled_from(["k-1", "k-2", "k-3"])
CARTS = st.sampled_from(["cart-1", "B", "c\u00e4rt"])
VERSIONS = st.integers(1, 3)
CHECKOUTS = st.builds(
    lambda saga, user, key, cart, version: Checkout(saga, user, key, b"\x00f", cart, version, 300, "GBP", 5),
    SAGAS,
    USERS,
    KEYS,
    CARTS,
    VERSIONS,
)


@pytest.fixture
def store_pair(database: str) -> Iterator[StorePair]:
    package = "holdfast.services.gateway_bff"
    store_pair = StorePair(database, package, PostgresGatewayTransaction, MemoryGatewayTransaction)
    yield store_pair
    store_pair.close()


def inserts() -> st.SearchStrategy[Work]:
    """Accept checkouts under ids that are new: ids are never drawn twice."""

    def make(rows: list[Checkout]) -> Work:
        def work(tx: Any) -> Any:
            known = tx.lock_checkouts(ALL)
            return tx.insert_checkouts([(row, b"initiated") for row in rows if row.saga_id not in known])

        return work

    return st.lists(CHECKOUTS, min_size=1, max_size=4, unique_by=lambda row: row.saga_id).map(make)


def endings() -> st.SearchStrategy[Work]:
    """End checkouts that are open, as the handler does it."""
    ending = st.builds(
        lambda saga, status, version, left: CheckoutEnd(saga, status, version, "order", "why", "so", left),
        SAGAS,
        st.sampled_from([COMPLETED, COMPLETED, FAILED]),
        st.integers(0, 2),
        VERSIONS,
    )

    def make(rows: list[CheckoutEnd]) -> Work:
        def work(tx: Any) -> None:
            there = tx.lock_checkouts(ALL)
            ended = tx.find_terminal(ALL)
            tx.end_checkouts([row for row in rows if row.saga_id in there.keys() - ended])

        return work

    return st.lists(ending, min_size=1, max_size=4, unique_by=lambda row: row.saga_id).map(make)


def deletions() -> st.SearchStrategy[Work]:
    def make(ids: list[str]) -> Work:
        return lambda tx: tx.delete_checkouts(sorted(set(ids) & tx.lock_checkouts(ALL).keys()))

    return st.lists(SAGAS, max_size=2).map(make)


def pages() -> st.SearchStrategy[PrunePage]:
    changed = st.sampled_from([-HOUR_MS, HOUR_MS]).map(lambda age: START_MS + age)
    return st.builds(PrunePage, SAGAS, st.integers(4, 10).map(saga_id), changed, st.integers(1, 4))


def reads() -> st.SearchStrategy[Work]:
    keys = st.lists(st.tuples(USERS, KEYS), min_size=1, max_size=3, unique=True)
    cart = st.tuples(CARTS, USERS)
    carts = st.lists(st.tuples(cart, VERSIONS), min_size=1, max_size=3, unique_by=lambda pair: pair[0])
    owned = st.lists(st.tuples(SAGAS, USERS), min_size=1, max_size=3, unique=True)
    return st.one_of(
        keys.map(lambda pairs: lambda tx: tx.find_by_key(pairs)),
        carts.map(lambda pairs: lambda tx: tx.find_in_the_way(pairs)),
        owned.map(lambda pairs: lambda tx: tx.find_owned(pairs)),
        st.lists(cart, max_size=3, unique=True).map(lambda keys: lambda tx: tx.versions_left(keys)),
        st.integers(1, 4).map(lambda n: lambda tx: tx.open_checkouts(saga_id(2), saga_id(8), n)),
        pages().map(lambda page: lambda tx: tx.prune_checkouts(page)),
    )


OPERATIONS = st.one_of(inserts(), inserts(), endings(), endings(), deletions(), reads(), reads())
TRANSACTIONS = st.lists(st.tuples(st.lists(OPERATIONS, max_size=5), st.booleans()), max_size=6)


@sequences
@given(transactions=TRANSACTIONS)
def test_checkouts_read_the_same(store_pair: StorePair, transactions: list[tuple[list[Work], bool]]) -> None:
    store_pair.reset()
    for operations, roll_back in transactions:
        store_pair.transact(in_turn(operations), commit=not roll_back)
    store_pair.transact(lambda tx: (tx.lock_checkouts(ALL), tx.open_checkouts(saga_id(0), saga_id(99), 99)))
    everything = [(saga, user) for saga in ALL for user in ("ada", "bob")]
    store_pair.transact(lambda tx: tx.find_owned(everything))
