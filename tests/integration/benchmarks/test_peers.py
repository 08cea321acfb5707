"""The four steps that every peer of the benchmarks does, and the check of their books, without any peer."""

from typing import Any

import psycopg
import pytest
from benchmarks.limits import BareDatabase
from benchmarks.peers.checkout_steps import (
    SKUS,
    STATEMENTS,
    STEPS,
    Order,
    check_books,
    create_business_tables,
    named,
    orders,
)


@pytest.fixture
def shop(database: str) -> str:
    create_business_tables(database, carts=3)
    return database


def carry_out(session: psycopg.Connection[Any], order: Order, *steps: str) -> list[int]:
    """Do these steps with PostgreSQL's own placeholders; return how many rows each wrote."""
    cursor = psycopg.RawCursor(session)
    return [cursor.execute(STATEMENTS[step], order.values(step)).rowcount for step in steps]


def test_a_checkout_of_four_steps_balances(shop: str) -> None:
    with psycopg.connect(shop) as session:
        for _, order in zip(range(3), orders(0), strict=False):
            assert carry_out(session, order, *STEPS) == [1, 1, 1, 1]
    check_books(shop, 3)


def test_books_that_lack_a_step_or_hold_too_much_do_not_balance(shop: str) -> None:
    with psycopg.connect(shop) as session:
        carry_out(session, next(orders(0)), "inventory", "payment", "order")
    with pytest.raises(AssertionError, match="as many of each"):
        check_books(shop, 1)


def test_books_miss_stock_and_money(shop: str) -> None:
    with psycopg.connect(shop) as session:
        carry_out(session, next(orders(0)), *STEPS)
        session.execute("update stock set on_hand = on_hand - 1 where sku = 'sku-0000'")
        session.execute("update payment set amount_minor = amount_minor + 1")
        session.execute("update cart set skus = '{a}', quantities = '{1}'")
    with pytest.raises(AssertionError) as error:
        check_books(shop, 1)
    for rule in ("stock is conserved", "paid is ordered", "a cleared cart is empty"):
        assert rule in str(error.value)


def test_a_code_with_too_few_pieces_is_not_sold(shop: str) -> None:
    order = next(orders(0))
    with psycopg.connect(shop) as session:
        session.execute("update stock set on_hand = 0 where sku = %s", [order.skus[1]])
        assert carry_out(session, order, "inventory") == [0]


def test_orders_of_neighbouring_carts_differ_and_stay_in_the_catalogue() -> None:
    first, second = Order("a", 0), Order("b", 1)
    assert not set(first.skus) & set(second.skus)
    assert all(int(sku[4:]) < SKUS for n in range(300) for sku in Order("c", n).skus)


def test_placeholders_are_named_for_sqlalchemy() -> None:
    text = "select $1::uuid, $2::text[] where x = cardinality($2::text[])"
    wanted = "select cast(:p1 as uuid), cast(:p2 as text[]) where x = cardinality(cast(:p2 as text[]))"
    assert named(text) == wanted
    assert "$" not in "".join(named(each) for each in STATEMENTS.values())


def test_the_bare_limit_inserts_all_rows_that_sagas_left_and_leaves_nothing_behind(shop: str) -> None:
    with psycopg.connect(shop) as session:
        for _, order in zip(range(1_000), orders(0), strict=False):
            carry_out(session, order, "inventory", "payment")
    bare = BareDatabase(shop, batches=2)
    bare.prepare(1_000)
    with psycopg.connect(shop, autocommit=True) as session:
        assert bare.rows == 2_000  # neither stock nor carts nor empty tables
        bare.insert()
        counts = "select (select count(*) from bare.payment), (select count(*) from bare.stock_movement)"
        assert session.execute(counts).fetchone() == (1_000, 1_000)
        bare.close()
        assert session.execute("select to_regnamespace('bare')").fetchone() == (None,)
