"""Ways to plant what no service would ever write into a world's books."""

import sqlite3
from collections.abc import Callable
from typing import Any

from tests.books_harness import BooksHarness

from holdfast.contracts.topics import CART, ORCHESTRATOR

Corruption = Callable[[BooksHarness], Any]


def sql(service: str, *statements: str) -> Corruption:
    """Plant by statements, of which the first may need what the table forbids."""

    def plant(world: BooksHarness) -> None:
        for statement in statements:
            world.run(service, statement)

    return plant


def forged_ledger(*statements: str) -> Corruption:
    """Plant in the provider's file what its triggers forbid."""

    def plant(world: BooksHarness) -> None:
        ledger = sqlite3.connect(world.ledger_path)
        triggers = "select name from sqlite_master where type = 'trigger'"
        for (name,) in ledger.execute(triggers).fetchall():
            ledger.execute(f"drop trigger {name}")
        for statement in statements:
            ledger.execute(statement)
        ledger.commit()
        ledger.close()

    return plant


def without_rules(service: str, table: str) -> Corruption:
    """Take the rules off a table that would refuse a plant."""
    return sql(
        service,
        f"""do $$ declare r record; begin
        for r in select conname from pg_constraint
            where conrelid = '{table}'::regclass and contype in ('c', 'p', 'u')
        loop execute format('alter table {table} drop constraint %I', r.conname); end loop;
        for r in select indexrelid::regclass as name from pg_index
            where indrelid = '{table}'::regclass and indisunique
        loop execute format('drop index %s', r.name); end loop;
        end $$""",
    )


def both(*plants: Corruption) -> Corruption:
    def plant(world: BooksHarness) -> None:
        for each in plants:
            each(world)

    return plant


def cleared(saga: str) -> Corruption:
    """A cart that this saga had no right to clear."""
    return sql(
        CART,
        "insert into clear_log"
        " (saga_id, cart_id, user_id, version_left, skus, quantities_before, quantities_removed)"
        f" values ('{saga}', 'cart', 'ada', 2, '{{}}', '{{}}', '{{}}')",
    )


def snapshot(saga: str, old: str, new: str) -> Corruption:
    """Another text in a saga's data."""
    return lambda world: world.rewrite_snapshot(saga, old, new)


def path(saga: str, seq: int, states: str) -> Corruption:
    """Another path in a saga's history."""
    return sql(
        ORCHESTRATOR, f"update saga_event set path = '{states}' where saga_id = '{saga}' and seq = {seq}"
    )
