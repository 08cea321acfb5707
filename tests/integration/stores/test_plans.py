"""What a statement reads grows with what it is asked for, not with tables: 100,000 rows, two kinds of plans.

Plans are made once, for any values (SESSION); while the tables were empty, or with their statistics at hand.
"""

import re
import time
from collections.abc import Iterator
from typing import Any, cast

import psycopg
import pytest
from tests.integration.stores.full_tables import fill, values

from holdfast.local.postgres import EmbeddedPostgres
from holdfast.messaging.database import statements
from holdfast.messaging.database_session import SESSION
from holdfast.runtime.migrations import migrate

KERNEL = "holdfast.messaging"
SERVICES = (
    "holdfast.services.checkout_orchestrator",
    "holdfast.services.inventory_write",
    "holdfast.services.payment_gateway",
    "holdfast.services.order_create",
    "holdfast.services.gateway_bff",
)
STATEMENTS = {
    f"{package.rpartition('.')[2]}.{name}": text
    for package in (KERNEL, *SERVICES)
    for name, text in sorted(statements(package).items())
}
PAGES_MAX = 200
"""Of 8 kB; the smallest of the indexes has more, and five keys never need as many."""

SMALL = {
    "messaging.select_due_timers": "timers",
    "messaging.select_outbox_age": "outbox",
    "messaging.find_parked": "parked",
    "messaging.lock_parked": "parked",  # PostgreSQL 15 looks for three lists by the first of them alone
    "messaging.note_processed": "parked",
    "messaging.prune_parked": "parked",
    "messaging.settle_parked": "parked",
    "checkout_orchestrator.count_open": "timers",
    "checkout_orchestrator.select_open_ids_newest_first": "timers",
    "checkout_orchestrator.select_open_ids_oldest_first": "timers",
    "payment_gateway.select_due_calls": "timers",
    "payment_gateway.select_open_payments": "timers",
    "payment_gateway.sum_open_payments": "timers",
}
"""May be read whole: only what is under way, not yet published, or went wrong has a row there."""

Plan = dict[str, Any]


@pytest.fixture(scope="module")
def plans(postgres: EmbeddedPostgres) -> Iterator[dict[str, dict[str, Plan]]]:
    """Each statement's plan, with what it really read, by when it was made and by its name."""
    postgres.ensure_database("plans")
    dsn = postgres.dsn("plans")
    migrate(dsn, [KERNEL, *SERVICES], time.sleep)
    with psycopg.connect(dsn, autocommit=True) as owner:
        with psycopg.connect(dsn, options=SESSION) as early:
            _prepare(early)
            fill(owner)
            on_empty_tables = _explain(early)
        owner.execute("analyze")
        with psycopg.connect(dsn, options=SESSION) as late:
            _prepare(late)
            yield {"empty": on_empty_tables, "full": _explain(late)}
    postgres.drop_database("plans")


@pytest.mark.parametrize("when", ["empty", "full"])
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_reads_what_it_is_asked_for(
    plans: dict[str, dict[str, Plan]], name: str, when: str
) -> None:
    plan = plans[when][name]
    small = [node for node in _nodes(plan) if node.get("Relation Name", "") == SMALL.get(name)]
    whole = [node for node in _nodes(plan) if node["Node Type"] == "Seq Scan" and node not in small]
    assert whole == [], _told(plan)
    assert _pages(plan) - sum(map(_pages, small)) <= PAGES_MAX, _told(plan)


def test_a_table_read_whole_would_be_seen(plans: dict[str, dict[str, Plan]]) -> None:
    for name in ("messaging.select_outbox_age", "checkout_orchestrator.count_open"):
        assert _pages(plans["full"][name]) > 2 * PAGES_MAX


def _prepare(connection: "psycopg.Connection[Any]") -> None:
    """Prepare each statement as the store does, and have its plan made."""
    for number, (name, text) in enumerate(STATEMENTS.items()):
        numbered = text
        for place, parameter in enumerate(_parameters(text), start=1):
            numbered = re.sub(rf"%\({parameter}\)[bst]", f"${place}", numbered)
        connection.execute(f"prepare p{number} as {numbered}".encode())
        _explained(connection, number, name, "")
    connection.commit()


def _explain(connection: "psycopg.Connection[Any]") -> dict[str, Plan]:
    """Run each statement, and undo it."""
    plans = {}
    for number, name in enumerate(STATEMENTS):
        plans[name] = _explained(connection, number, name, "analyze, buffers, ")
        connection.rollback()
    return plans


def _explained(connection: "psycopg.Connection[Any]", number: int, name: str, how: str) -> Plan:
    given = values(name)
    arguments = [given[each] for each in _parameters(STATEMENTS[name])]
    marks = f"({', '.join(['%s'] * len(arguments))})" if arguments else ""
    cursor = psycopg.ClientCursor(connection)  # EXECUTE takes no parameters, only values in its text
    cursor.execute(f"explain ({how}format json) execute p{number}{marks}".encode(), arguments)
    row = cursor.fetchone()
    assert row is not None
    return cast("Plan", row[0][0]["Plan"])


def _parameters(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"%\((\w+)\)[bst]", text)))


def _nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _told(plan: Plan, depth: int = 0) -> str:
    """The plan in few words, for who has to mend it."""
    words = ("Node Type", "Relation Name", "Index Name", "Index Cond", "Filter", "Sort Key", "Actual Rows")
    line = f"\n{'  ' * depth}{[plan[each] for each in words if each in plan]}, {_pages(plan)} pages"
    return line + "".join(_told(child, depth + 1) for child in plan.get("Plans", ()))


def _pages(plan: Plan) -> int:
    """Pages that a node and those below it have looked at, in memory or not."""
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
