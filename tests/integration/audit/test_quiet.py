"""Quiet is waited for, and what is not quiet is said."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.books_harness import BooksHarness
from tests.databases import BUS
from tests.samples import saga_id

from holdfast.audit import SourceUnavailable, quiescence, run_on
from holdfast.audit.invariants import INVARIANTS
from holdfast.audit.positions import Position, open_bus
from holdfast.audit.sessions import Books
from holdfast.bus.port import Message, TopicPartition
from holdfast.contracts.topics import (
    EVENTS,
    GATEWAY,
    INVENTORY,
    ORCHESTRATOR,
    ORDER,
    ORDER_COMMANDS,
    PAYMENT,
    SERVICES,
)

DUE_MS, LATER_MS = 1_000, 99_000_000_000_000
LONG_S = 60.0
"""Far more than any test should wait for what it has itself arranged."""


def timer(world: BooksHarness, service: str, kind: str, due_ms: int) -> None:
    world.insert(
        service,
        "timers",
        saga_id=saga_id(77),
        step="payment",
        verb="do",
        kind=kind,
        partition=0,
        since_ms=0,
        due_ms=due_ms,
    )


def outbox(world: BooksHarness, service: str) -> None:
    world.insert(service, "outbox", count=1, batch=b"")


def published(world: BooksHarness, topic: str) -> None:
    publisher = world.bus.publisher()
    publisher.publish([Message(topic, saga_id(1).encode(), b"{}")])
    publisher.close()


def fence(world: BooksHarness, service: str, state: str) -> None:
    world.run(service, "update fence set state = %s where saga_id = %s", state, saga_id(1))


PLANTS: dict[str, tuple[Callable[[BooksHarness], Any], str]] = {
    **{
        f"outbox of {service}": (
            partial(outbox, service=service),
            f"{service}'s outbox holds 1 batches, the oldest of ",
        )
        for service in SERVICES
    },
    "deadline": (
        lambda w: timer(w, ORCHESTRATOR, "deadline", DUE_MS),
        "checkout-orchestrator has 1 deadline timers due",
    ),
    "resolve": (lambda w: timer(w, PAYMENT, "resolve", DUE_MS), "payment-gateway has 1 resolve timers due"),
    "lag": (
        lambda w: published(w, ORDER_COMMANDS),
        f"group order-create lags 1 behind on {ORDER_COMMANDS}/",
    ),
    "DONE": (
        lambda w: fence(w, INVENTORY, "DONE"),
        f"inventory-write holds 1 steps of ended sagas (saga {saga_id(1)}: DONE, it is COMPLETED)",
    ),
    "RUNNING": (
        lambda w: fence(w, PAYMENT, "RUNNING"),
        f"payment-gateway holds 1 steps of ended sagas (saga {saga_id(1)}: RUNNING, it is COMPLETED)",
    ),
    "UNDOING": (
        lambda w: fence(w, ORDER, "UNDOING"),
        f"order-create holds 1 steps of ended sagas (saga {saga_id(1)}: UNDOING, it is COMPLETED)",
    ),
    "untold": (
        lambda w: w.run(GATEWAY, "update checkout set last_status = 'CHECKOUT_INITIATED'"),
        f"gateway-bff has not heard that 1 sagas have ended (saga {saga_id(1)})",
    ),
}


@pytest.mark.parametrize("name", PLANTS)
def test_what_is_not_quiet_is_said(world: BooksHarness, name: str) -> None:
    plant, reason = PLANTS[name]
    world.completed()
    plant(world)
    report = run_on(world.sources, 0)
    assert report.exit_code == 4
    (said,) = report.quiet
    assert said.startswith(reason)
    assert report.violations == []


def test_an_event_lags_for_both_of_its_readers(world: BooksHarness) -> None:
    world.completed()
    published(world, EVENTS)
    said = run_on(world.sources, 0).quiet
    assert [reason.split(" lags 1 ")[0] for reason in said] == [
        "group checkout-orchestrator",
        "group gateway-bff",
    ]


def test_what_a_group_has_committed_is_no_lag(world: BooksHarness) -> None:
    world.completed()
    published(world, ORDER_COMMANDS)
    world.run(
        BUS,
        "insert into leases (group_name, topic, partition, committed)"
        " select 'order-create', topic, partition, next_offset from partitions where topic = %s",
        ORDER_COMMANDS,
    )
    assert run_on(world.sources, 0).exit_code == 0


def test_timers_that_are_not_due_and_holds_of_sagas_under_way_are_quiet(world: BooksHarness) -> None:
    world.under_way()
    timer(world, ORCHESTRATOR, "deadline", LATER_MS)
    assert run_on(world.sources, 0).exit_code == 0


def test_it_is_waited_for(world: BooksHarness) -> None:
    """What was on its way arrives while the audit waits, which says what it waits for."""
    world.completed()
    outbox(world, PAYMENT)
    outbox(world, ORDER)
    heard = []

    def mend(line: str) -> None:
        heard.append(re.sub(r" holds 1 batches, the oldest of \d+ s ago", "", line))
        world.run(PAYMENT if len(heard) == 1 else ORDER, "delete from outbox")

    assert run_on(world.sources, LONG_S, mend).exit_code == 0
    assert heard == ["payment-gateway's outbox, and 1 more reasons", "order-create's outbox"]


def test_a_saga_under_way_gets_its_time_to_end(world: BooksHarness) -> None:
    world.completed()
    saga = world.under_way()
    heard = []

    def stall(line: str) -> None:
        heard.append(line)
        world.run(ORCHESTRATOR, "update saga set stalled_ms = 1 where saga_id = %s", saga)

    report = run_on(world.sources, LONG_S, stall)  # a stalled one is not waited for: it may never end
    assert heard == ["1 sagas are under way"]
    assert report.exit_code == 0
    assert report.counts == {"COMPLETED": 1, "ORDER_CREATION_PENDING": 1}


def test_a_book_that_comes_back_is_read(world: BooksHarness) -> None:
    world.completed()
    hidden = world.ledger_path.with_suffix(".away")
    world.ledger_path.rename(hidden)
    heard = []

    def bring_back(line: str) -> None:
        heard.append(line)
        hidden.rename(world.ledger_path)

    assert run_on(world.sources, LONG_S, bring_back).exit_code == 0
    assert str(world.ledger_path) in heard[0]


def test_a_missing_ledger_is_named(world: BooksHarness, tmp_path: Path) -> None:
    nowhere = msgspec.structs.replace(world.sources, ledger=tmp_path / "nowhere.sqlite")
    with pytest.raises(SourceUnavailable, match=r"nowhere\.sqlite"):
        run_on(nowhere, 0)


def test_a_missing_table_is_named(world: BooksHarness) -> None:
    world.run(ORDER, "drop table timers")
    with pytest.raises(SourceUnavailable, match=r"order-create's database: .*timers"):
        run_on(world.sources, 0)


@pytest.mark.parametrize("book", ["cart", "bus", "scratch"])
def test_an_unreachable_database_is_named(world: BooksHarness, book: str) -> None:
    """Nobody listens on port 1."""
    dsn = "postgresql://postgres@127.0.0.1:1/nothing"
    sources = world.sources
    bus = msgspec.structs.replace(sources.bus, dsn=dsn) if book == "bus" else sources.bus
    named = {"cart": "cart-crud's database", "bus": "the bus's database", "scratch": "the scratch database"}
    changed = msgspec.structs.replace(sources, **{book: bus if book == "bus" else dsn})
    with pytest.raises(SourceUnavailable, match=named[book]):
        run_on(changed, 0)


def test_what_is_published_during_a_look_spoils_it(world: BooksHarness) -> None:
    """The books were then read at moments that do not belong together, however quiet each of them is."""
    place = TopicPartition(EVENTS, 0)
    looks = iter([[Position(ORCHESTRATOR, place, 7, 7)], [Position(ORCHESTRATOR, place, 8, 8)]])
    with Books(world.sources) as books:
        found = quiescence.look(books, lambda: next(looks))
    assert found == (["messages were published during the look"], 0)


def test_all_that_a_look_sees_of_a_book_is_of_one_moment(world: BooksHarness) -> None:
    world.completed()
    with Books(world.sources) as books, open_bus(world.sources) as ask_bus:
        assert quiescence.look(books, ask_bus).settled
        outbox(world, PAYMENT)
        world.charge("", 500, key="later")
        assert books.rows(PAYMENT, "count_outbox") == [(0, 0)]
        assert len(books.ledger_rows("read_ledger")) == 1
        books.refresh()
        assert books.rows(PAYMENT, "count_outbox")[0][0] == 1
        assert len(books.ledger_rows("read_ledger")) == 2


def test_what_must_hold_always_is_asked_even_where_it_is_not_quiet(world: BooksHarness) -> None:
    saga = world.completed()
    world.charge(saga, 500, key="another key")
    world.run(ORDER, "delete from orders")  # I09, but that one needs quiet
    outbox(world, PAYMENT)
    report = run_on(world.sources, 0)
    assert report.exit_code == 1
    assert len(report.quiet) == 1
    assert [(each.invariant, each.key) for each in report.violations] == [("I04", saga)]
    assert report.checked == [each.query for each in INVARIANTS if each.always]
    assert {each.name for each in INVARIANTS if each.always} == {"I04", "I07", "I16", "I17"}
