"""The checkout that every peer does: four steps, each one statement in a transaction of its own.

The tables are our services' business tables in one database; what makes the steps durable is the peer's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import psycopg

SKUS = 2_000
STOCK_EACH = 10**9
USER = "bench"
STEPS = ("inventory", "payment", "order", "cart")

Value = str | int | list[str] | list[int]


@dataclass(frozen=True)
class Order:
    """One checkout of a cart with a few lines; all of it follows from its number, but for its id."""

    saga_id: str
    number: int
    lines: int = 3

    @property
    def cart_id(self) -> str:
        return f"bench-{self.number}"

    @property
    def skus(self) -> list[str]:
        return [f"sku-{(self.number * 17 + i * 31) % SKUS:04}" for i in range(self.lines)]

    @property
    def quantities(self) -> list[int]:
        return [1 + i % 3 for i in range(self.lines)]

    @property
    def prices(self) -> list[int]:
        return [100 + int(sku[4:]) for sku in self.skus]

    @property
    def total_minor(self) -> int:
        return sum(q * p for q, p in zip(self.quantities, self.prices, strict=True))

    def values(self, step: str) -> tuple[Value, ...]:
        """Return the parameters of a step's statement, in their order."""
        match step:
            case "inventory":
                return self.saga_id, self.skus, self.quantities
            case "payment":
                return self.saga_id, USER, self.total_minor
            case "order":
                return self.saga_id, USER, self.total_minor, self.skus, self.quantities, self.prices
            case "cart":
                return self.saga_id, self.cart_id, self.skus, self.quantities
        raise ValueError(step)


def orders(first: int, lines: int = 3) -> Iterator[Order]:
    """Yield orders of the carts from this number on."""
    number = first
    while True:
        yield Order(str(uuid4()), number, lines)
        number += 1


def order_of(saga_id: str | UUID, number: int) -> Order:
    """Return an order that was sent as its id and number."""
    return Order(str(saga_id), number)


def statement(name: str) -> str:
    return Path(__file__).with_name(f"{name}.sql").read_text()


STATEMENTS = {
    "inventory": statement("reserve_stock"),
    "payment": statement("insert_payment"),
    "order": statement("insert_order"),
    "cart": statement("clear_cart"),
}
"""Step to its statement, with PostgreSQL's own placeholders ($1); each must write one row."""


def named(text: str) -> str:
    """Return the statement with SQLAlchemy's placeholders: $1 becomes :p1, and casts their long form."""
    return re.sub(r"\$(\d+)::(\w+(?:\[\])?)", r"cast(:p\1 as \2)", text)


def create_business_tables(dsn: str, carts: int, lines: int = 3) -> None:
    """Make the tables, stock that no benchmark uses up, and carts to buy."""
    with psycopg.connect(dsn) as session:
        session.execute(statement("create_tables").encode())
        with session.cursor() as cursor:
            with cursor.copy("copy stock (sku, on_hand) from stdin") as copy:
                for n in range(SKUS):
                    copy.write_row((f"sku-{n:04}", STOCK_EACH))
            with cursor.copy("copy cart (cart_id, user_id, skus, quantities) from stdin") as copy:
                for order, _ in zip(orders(0, lines), range(carts), strict=False):
                    copy.write_row((order.cart_id, USER, order.skus, order.quantities))
        session.execute("analyze")


def check_books(dsn: str, checkouts: int) -> None:
    """Fail loudly unless the books balance and hold exactly so many checkouts."""
    with psycopg.connect(dsn) as session:
        found = session.execute(
            statement("check_books").encode(), {"checkouts": checkouts, "stock": SKUS * STOCK_EACH}
        ).fetchall()
    assert not found, f"the books do not balance: {found[:10]}"
