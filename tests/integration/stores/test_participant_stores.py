"""inventory-write, order-create and cart-crud: real handlers on both stores read and write the same."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.stores.batches import Batches, Command, batches, handle
from tests.integration.stores.store_pairs import StorePair, Work, in_turn, sequences
from tests.samples import NOT_AFTER_MS, saga_id

from holdfast.contracts.messages import ClearCart, CreateOrder, EmptyPayload, Line, ReserveInventory
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.store import StatementFailed
from holdfast.services.cart_crud.cart_edits import Price
from holdfast.services.cart_crud.domain import Cart, CartKey, Clearance
from holdfast.services.cart_crud.handlers import CartParticipant
from holdfast.services.cart_crud.memory_store import MemoryCartTransaction
from holdfast.services.cart_crud.store import PostgresCartTransaction
from holdfast.services.inventory_write.domain import Movement, Stock
from holdfast.services.inventory_write.handlers import InventoryParticipant
from holdfast.services.inventory_write.memory_store import MemoryInventoryTransaction
from holdfast.services.inventory_write.store import PostgresInventoryTransaction
from holdfast.services.order_create.domain import Order
from holdfast.services.order_create.handlers import OrderParticipant
from holdfast.services.order_create.memory_store import MemoryOrderTransaction
from holdfast.services.order_create.store import PostgresOrderTransaction

MakeTwins = Callable[[str, type[Any], type[Any]], StorePair]
SKUS = ("a", "B", "ä", "b-1", "10", "9", "\u2603 snow")  # orders of collations differ on these
SAGAS = st.integers(1, 4)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=6)


@pytest.fixture
def make(database: str) -> Iterator[MakeTwins]:
    made: list[StorePair] = []

    def make(package: str, postgres_type: type[Any], memory_type: type[Any]) -> StorePair:
        made.append(StorePair(database, f"holdfast.services.{package}", postgres_type, memory_type))
        return made[-1]

    yield make
    for store_pair in made:
        store_pair.close()


def lines(skus: tuple[str, ...] = SKUS) -> st.SearchStrategy[tuple[Line, ...]]:
    line = st.builds(Line, st.sampled_from(skus), st.integers(1, 4), st.integers(0, 3))
    return st.lists(line, min_size=1, max_size=4).map(tuple)


def _commands(do: st.SearchStrategy[Any], kinds: tuple[str, str, str]) -> st.SearchStrategy[Command]:
    dos = st.builds(lambda saga, payload: Command(saga, kinds[0], payload), SAGAS, do)
    ends = st.builds(
        lambda saga, kind: Command(saga, kind, EmptyPayload()), SAGAS, st.sampled_from(kinds[1:])
    )
    return dos | ends


# -- inventory-write

RESERVATIONS = st.builds(
    ReserveInventory, lines((*SKUS, "unknown")), st.sampled_from([NOT_AFTER_MS, NOT_AFTER_MS, 1])
)
STOCK = _commands(RESERVATIONS, ("ReserveInventory", "CompensateInventory", "ConfirmInventory"))


@pytest.fixture
def inventory(make: MakeTwins) -> StorePair:
    return make("inventory_write", PostgresInventoryTransaction, MemoryInventoryTransaction)


@sequences
@given(drawn=batches(STOCK), initial=st.dictionaries(st.sampled_from(SKUS), st.integers(0, 9)))
def test_inventory_moves_the_same_pieces(
    inventory: StorePair, drawn: Batches, initial: dict[str, int]
) -> None:
    inventory.reset()
    inventory.transact(lambda tx: tx.set_initial_stock(list(initial.items())))
    handle(inventory, ParticipantHandler(InventoryParticipant()), drawn, "inventory")
    sagas = [saga_id(n) for n in range(6)]
    inventory.transact(lambda tx: (tx.list_stock("", 100), tx.load_reservations(sagas)))
    moves = inventory.select(
        "select saga_id::text, direction, skus, quantities from stock_movement order by saga_id, direction"
    )
    found = [Movement(s, d, tuple(zip(skus, counts, strict=True))) for s, d, skus, counts in moves]
    assert found == inventory.rows("stock_movement")


@sequences
@given(
    rows=st.lists(st.dictionaries(st.sampled_from(SKUS), st.integers(0, 9), min_size=1), max_size=4),
    after=st.sampled_from(["", *SKUS]),
    limit=st.integers(1, 5),
)
def test_stock_is_set_and_listed_the_same(
    inventory: StorePair, rows: list[dict[str, int]], after: str, limit: int
) -> None:
    inventory.reset()
    inventory.transact(lambda tx: [tx.set_initial_stock(list(row.items())) for row in rows])
    listed = inventory.transact(lambda tx: tx.list_stock(after, limit))
    assert [row.sku for row in listed] == sorted(row.sku for row in listed)
    inventory.transact(lambda tx: tx.lock_stock(["a", "B", "no such code"]))


def test_a_second_movement_of_one_direction_is_refused_by_both(inventory: StorePair) -> None:
    move = Movement(saga_id(1), "sell", (("a", 1),))
    assert inventory.transact(lambda tx: tx.insert_movements([move])) is None
    assert inventory.transact(lambda tx: tx.insert_movements([move])) == "refused"


def test_the_database_itself_refuses_stock_that_does_not_add_up(inventory: StorePair) -> None:
    inventory.transact(lambda tx: tx.set_initial_stock([("a", 3)]))
    for row in (Stock("a", 3, -1, 4, 0), Stock("a", 3, 3, 1, 0), Stock("a", 3, 2, 0, 0)):
        with pytest.raises(StatementFailed, match="23514"), inventory.postgres.transaction() as tx:
            tx.save_stock([row])


# -- order-create

ORDERS = st.builds(
    lambda user, currency, lines, off: CreateOrder(
        user, currency, sum(x.quantity * x.unit_price_minor for x in lines) + off, lines, NOT_AFTER_MS
    ),
    WORDS,
    st.sampled_from(["GBP", "EUR"]),
    lines(),
    st.sampled_from([0, 0, 0, 1]),
)


@pytest.fixture
def orders(make: MakeTwins) -> StorePair:
    return make("order_create", PostgresOrderTransaction, MemoryOrderTransaction)


@sequences
@given(drawn=batches(_commands(ORDERS, ("CreateOrder", "CompensateOrder", "ConfirmOrder"))))
def test_orders_are_written_the_same(orders: StorePair, drawn: Batches) -> None:
    orders.reset()
    handle(orders, ParticipantHandler(OrderParticipant(20)), drawn, "order")
    rows = orders.select(
        "select order_id, saga_id::text, user_id, currency, total_minor, status,"
        " skus, quantities, prices_minor from orders order by saga_id"
    )
    found = []
    for order_id, saga, user, currency, total, status, *columns in rows:
        found.append(Order(order_id, saga, user, currency, total, status, tuple(map(Line, *columns))))
    assert found == orders.rows("orders")


# -- cart-crud

CARTS = st.sampled_from(["cart-1", "cart-2", "cärt"])
USERS = st.sampled_from(["ada", "bob"])
CART_KEYS = st.tuples(CARTS, USERS)
CLEARS = st.builds(lambda cart, user, lines: ClearCart(user, cart, 3, lines), CARTS, USERS, lines())
CLEAR = st.builds(lambda saga, payload: Command(saga, "ClearCart", payload), SAGAS, CLEARS)
PIECES = st.dictionaries(st.sampled_from(SKUS), st.integers(1, 9)).map(lambda d: tuple(d.items()))
CART_ROWS = st.lists(
    st.builds(Cart, CARTS, USERS, st.integers(1, 9), PIECES, st.just("")),
    unique_by=lambda cart: cart.key,
    max_size=3,
)


@pytest.fixture
def carts(make: MakeTwins) -> StorePair:
    return make("cart_crud", PostgresCartTransaction, MemoryCartTransaction)


@sequences
@given(drawn=batches(CLEAR), rows=CART_ROWS, held=st.none() | CART_KEYS)
def test_carts_are_cleared_the_same(
    carts: StorePair, drawn: Batches, rows: list[Cart], held: CartKey | None
) -> None:
    carts.reset()
    carts.transact(lambda tx: tx.insert_carts(rows))
    if held:
        carts.transact(lambda tx: tx.hold_cart(held, "a check"))
    handle(carts, ParticipantHandler(CartParticipant()), drawn, "cart")
    carts.transact(lambda tx: tx.lock_carts([row.key for row in rows]))
    carts.transact(lambda tx: tx.cleared_by({saga_id(n) for n in range(1, 10)}))
    logged = carts.select(
        "select saga_id::text, cart_id, user_id, version_left, skus, quantities_before, quantities_removed"
        " from clear_log order by saga_id"
    )
    found = []
    for saga, cart, user, version, *taken in logged:
        found.append(Clearance(saga, cart, user, version, tuple(zip(*taken, strict=True))))
    assert found == carts.rows("clear_log")


PRICES = st.lists(
    st.builds(Price, st.sampled_from(SKUS), st.integers(1, 9), st.sampled_from(["GBP", "EUR"])),
    unique_by=lambda price: price.sku,
    max_size=4,
)


def shopping() -> st.SearchStrategy[Work]:
    skus = st.lists(st.sampled_from((*SKUS, "unknown")), max_size=3)
    owned = st.lists(CART_KEYS, max_size=3, unique=True)
    return st.one_of(
        PRICES.map(lambda rows: lambda tx: tx.save_prices(rows)),
        skus.map(lambda wanted: lambda tx: tx.read_prices(wanted)),
        st.builds(
            lambda after, n: lambda tx: tx.list_prices(after, n),
            st.sampled_from(["", *SKUS]),
            st.integers(1, 4),
        ),
        CART_ROWS.map(lambda rows: lambda tx: tx.insert_carts(rows)),
        st.lists(CART_KEYS, max_size=3).map(lambda keys: lambda tx: tx.lock_carts(keys)),
        st.builds(lambda cart, n: lambda tx: tx.cart_users(cart, n), CARTS, st.integers(1, 2)),
        owned.map(lambda pairs: lambda tx: _sorted_carts(tx.read_carts(pairs))),
        CART_ROWS.map(_save_those_that_exist),
        st.builds(
            lambda cart, why: lambda tx: tx.hold_cart(cart, why), CART_KEYS, st.sampled_from(["", "why"])
        ),
    )


def _sorted_carts(read: tuple[list[Cart], dict[str, Price]]) -> Any:
    found, prices = read
    return sorted(found), prices


def _save_those_that_exist(rows: list[Cart]) -> Work:
    def work(tx: Any) -> None:
        there = tx.lock_carts([row.key for row in rows])
        tx.save_carts(
            [there[r.key]._replace(version=r.version, pieces=r.pieces) for r in rows if r.key in there]
        )

    return work


@sequences
@given(transactions=st.lists(st.tuples(st.lists(shopping(), max_size=4), st.booleans()), max_size=6))
def test_carts_and_prices_read_the_same(
    carts: StorePair, transactions: list[tuple[list[Work], bool]]
) -> None:
    carts.reset()
    for operations, roll_back in transactions:
        carts.transact(in_turn(operations), commit=not roll_back)
    every = [(cart, user) for cart in ("cart-1", "cart-2", "cärt") for user in ("ada", "bob")]
    carts.transact(lambda tx: tx.lock_carts(every))
