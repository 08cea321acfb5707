"""The gateway's table on PostgreSQL: its twin answers alike, races have one winner, plans use keys."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event
from typing import Any, cast

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.bus.memory import MemoryBus
from holdfast.contracts.http_api import Snapshot
from holdfast.contracts.messages import Line
from holdfast.contracts.topics import PARTITIONS_EMBEDDED, all_topics
from holdfast.messaging.components import Ports
from holdfast.messaging.database_session import SESSION
from holdfast.messaging.ids import uuid7_floor
from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.runtime.migrations import migrate
from holdfast.services.gateway_bff.checkout_starter import CheckoutStarter
from holdfast.services.gateway_bff.domain import (
    COMPLETED,
    FAILED,
    Accepted,
    CheckoutEnd,
    CheckoutRequest,
    Rejected,
    RejectionReason,
    StartResult,
)
from holdfast.services.gateway_bff.main import build
from holdfast.services.gateway_bff.memory_store import MemoryGatewayTransaction
from holdfast.services.gateway_bff.store import SQL, PostgresGatewayTransaction

PACKAGES = ("holdfast.messaging", "holdfast.services.gateway_bff")
CARTS, USERS, KEYS = ("c-1", "c-2"), ("ada", "eve"), ("k-1", "k-2", "k-3")

GatewayStore = PostgresStore[PostgresGatewayTransaction]


@pytest.fixture
def store(database: str) -> Iterator[GatewayStore]:
    migrate(database, PACKAGES, Event().wait)
    made = PostgresStore(database, PostgresGatewayTransaction, size=10)
    yield made
    made.close()


def acceptor(store: Any, instance: str = "one", seed: int = 1) -> CheckoutStarter:
    """One gateway's write side; its saga ids count up from `seed`."""
    bus = MemoryBus(lambda: 0.0)
    bus.create_topics(all_topics(), PARTITIONS_EMBEDDED)
    numbers = count(seed)
    ports = Ports(store, bus, lambda: 0, instance, PARTITIONS_EMBEDDED)
    return build(cast("Any", ports), lambda: next(numbers)).starter


def wanted(
    user: str = "ada",
    key: str = "k-1",
    cart: str = "c-1",
    version: int = 1,
    body: bytes = b"body",
    **more: Any,
) -> CheckoutRequest:
    snapshot = Snapshot(version=version, currency="GBP", total_minor=1000, lines=(Line("mug", 2, 500),))
    return CheckoutRequest(user, key, body, cart, "pm_card_visa", snapshot)


def end(store: Any, saga_id: str, status: str, left: int = 0, version: int = 9) -> None:
    with store.transaction() as tx:
        tx.end_checkouts([CheckoutEnd(saga_id, status, version, "order", "why", "detail", left)])


def told(answers: Sequence[StartResult]) -> list[object]:
    """What does not depend on the chosen ids: started, replayed, or why not and which key is in the way."""
    return [
        ("started", answer.replayed, answer.checkout.cart_id)
        if isinstance(answer, Accepted)
        else (answer.why, answer.checkout and answer.checkout.idempotency_key)
        for answer in answers
    ]


steps = st.one_of(
    st.lists(
        st.builds(
            wanted,
            st.sampled_from(USERS),
            st.sampled_from(KEYS),
            st.sampled_from(CARTS),
            st.integers(1, 4),
            st.sampled_from((b"body", b"other")),
        ),
        min_size=1,
        max_size=4,
    ),
    st.tuples(st.integers(0, 5), st.sampled_from((COMPLETED, FAILED)), st.integers(1, 5)),
)


@given(st.lists(steps, max_size=8))
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
def test_both_stores_answer_the_same_requests_and_ends_alike(store: GatewayStore, script: list[Any]) -> None:
    with store.transaction() as tx:
        tx.write("truncate checkout, outbox")
    twin = MemoryStore(MemoryGatewayTransaction, lambda: 0)
    pairs: list[tuple[str, str]] = []
    real_door, twin_door = acceptor(store), acceptor(twin)
    for step in script:
        if isinstance(step, list):
            real, virtual = real_door.accept(step), twin_door.accept(step)
            assert told(real) == told(virtual)
            pairs += [
                (r.checkout.saga_id, v.checkout.saga_id)
                for r, v in zip(real, virtual, strict=True)
                if isinstance(r, Accepted) and isinstance(v, Accepted) and not r.replayed
            ]
        elif step[0] < len(pairs):
            for each, saga_id in zip((store, twin), pairs[step[0]], strict=True):
                end(each, saga_id, step[1], step[2])
    with store.transaction() as tx, twin.transaction() as memory:
        ended = [tx.find_terminal([real for real, _ in pairs]), memory.find_terminal([v for _, v in pairs])]
        assert [r in ended[0] for r, _ in pairs] == [v in ended[1] for _, v in pairs]
        still_open = tx.open_checkouts(uuid7_floor(0), "f" * 8 + "-ffff-7fff-8fff-" + "f" * 12, 100)
        assert {row.saga_id for row in still_open} == {real for real, _ in pairs} - ended[0]
        assert tx.count_open(100) == memory.count_open(100) == len(still_open)
        assert tx.count_open(1) == memory.count_open(1) == min(1, len(still_open))
        owned = tx.find_owned([(real, user) for real, _ in pairs for user in USERS])
        assert {saga for saga, _ in owned} == {real for real, _ in pairs}
        assert all(row.user_id == user for (_, user), row in owned.items())


def race(store: GatewayStore, requests: Sequence[CheckoutRequest], instances: int = 4) -> list[StartResult]:
    """Accept every request in a transaction of its own, from threads of several gateways at once."""
    doors = [acceptor(store, f"gateway-{n}", seed=1 + n * 1_000_000) for n in range(instances)]
    together = threading.Barrier(instances)

    def work(n: int) -> list[tuple[int, StartResult]]:
        together.wait(10)
        mine = range(n, len(requests), instances)
        return [(place, doors[n].accept([requests[place]])[0]) for place in mine]

    with ThreadPoolExecutor(instances) as threads:
        answers = dict(pair for part in threads.map(work, range(instances)) for pair in part)
    return [answers[place] for place in range(len(requests))]


def test_a_hundred_requests_with_one_key_at_four_gateways_start_one_saga(store: GatewayStore) -> None:
    answers = race(store, [wanted()] * 100)
    assert all(isinstance(answer, Accepted) for answer in answers)
    sagas = {answer.checkout.saga_id for answer in answers if isinstance(answer, Accepted)}
    assert len(sagas) == 1
    assert sum(not answer.replayed for answer in answers if isinstance(answer, Accepted)) == 1
    with store.transaction() as tx:
        assert tx.read("select count(*), sum(count) from outbox") == [(1, 1)]


def test_keys_that_race_for_a_cart_have_one_winner_whom_the_losers_are_told(store: GatewayStore) -> None:
    answers = race(store, [wanted(key=f"k-{n}", version=1 + n % 3) for n in range(60)])
    (won,) = [answer for answer in answers if isinstance(answer, Accepted)]
    lost = [answer for answer in answers if isinstance(answer, Rejected)]
    assert len(lost) == 59
    assert {answer.why for answer in lost} == {RejectionReason.CART_IN_CHECKOUT}
    assert {answer.checkout and answer.checkout.saga_id for answer in lost} == {won.checkout.saga_id}


def test_one_key_for_two_carts_starts_one_of_them(store: GatewayStore) -> None:
    answers = race(store, [wanted(cart=f"c-{n}", body=b"%d" % n) for n in range(8)])
    assert sum(isinstance(answer, Accepted) for answer in answers) == 1
    assert {answer.why for answer in answers if isinstance(answer, Rejected)} == {RejectionReason.KEY_REUSED}


def test_groups_that_cross_each_other_all_end(store: GatewayStore) -> None:
    """Two gateways want the same carts in opposite orders: waiting for each other must not last."""
    doors = [acceptor(store, "one", 1), acceptor(store, "two", 10_000)]
    together = threading.Barrier(2)

    def work(n: int) -> int:
        started = 0
        for round_ in range(30):
            carts = [f"c-{round_}-{m}" for m in range(6)]
            group = [wanted(key=f"k-{n}-{c}", cart=c) for c in (carts if n else reversed(carts))]
            together.wait(30)
            started += sum(isinstance(answer, Accepted) for answer in doors[n].accept(group))
        return started

    with ThreadPoolExecutor(2) as threads:
        assert sum(threads.map(work, range(2))) == 180


def test_a_cart_bought_at_a_version_is_told_apart_from_one_in_checkout(store: GatewayStore) -> None:
    door = acceptor(store)
    (first,) = door.accept([wanted()])
    assert isinstance(first, Accepted)
    end(store, first.checkout.saga_id, COMPLETED, left=1)
    (again,) = door.accept([wanted(key="k-2")])
    assert isinstance(again, Rejected)
    assert (again.why, again.checkout and again.checkout.saga_id) == (
        RejectionReason.CART_BOUGHT,
        first.checkout.saga_id,
    )
    (newer,) = door.accept([wanted(key="k-2", version=2)])
    assert isinstance(newer, Accepted)


def test_an_end_that_commits_while_an_accept_waits_leaves_no_old_snapshot_behind(store: GatewayStore) -> None:
    """The accept waits for the row of the open checkout; when it goes on, it sees what that one left."""
    door = acceptor(store)
    (first,) = door.accept([wanted(version=1)])
    assert isinstance(first, Accepted)
    with ThreadPoolExecutor(1) as threads:
        with store.transaction() as tx:
            tx.end_checkouts([CheckoutEnd(first.checkout.saga_id, COMPLETED, 9, "order", "", "", 3)])
            assert tx.find_terminal([first.checkout.saga_id]), "it is written, and its row is locked"
            waiting = threads.submit(door.accept, [wanted(key="k-2", version=2)])
            _until_somebody_waits(store)
        assert waiting.result(10) == [Rejected(RejectionReason.SNAPSHOT_IS_OLD)]
    with store.transaction() as tx:
        assert tx.read("select count(*) from checkout") == [(1,)]


def _until_somebody_waits(store: GatewayStore) -> None:
    for _ in range(10_000):
        with store.transaction() as tx:
            [(waiting,)] = tx.read("select count(*) from pg_locks where not granted")
        if waiting:
            return
    raise AssertionError("nobody waits for a lock")


def test_statements_use_keys_however_large_the_table_is(store: GatewayStore, database: str) -> None:
    values: dict[str, dict[str, Any]] = {
        "select_by_key": {"user_ids": ["ada"], "idempotency_keys": ["k"]},
        "select_in_the_way": {"cart_ids": ["c"], "user_ids": ["ada"], "cart_versions": [1]},
        "select_versions_left": {"cart_ids": ["c"], "user_ids": ["ada"]},
        "select_owned": {"saga_ids": [uuid7_floor(1)], "user_ids": ["ada"]},
        "select_terminal": {"saga_ids": [uuid7_floor(1)]},
        "count_open": {"limit": 10_000},
    }
    with psycopg.connect(database, options=SESSION) as connection:
        for name, arguments in values.items():
            rows = connection.execute("explain " + SQL[name], arguments).fetchall()
            plan = "\n".join(row[0] for row in rows)
            assert "Seq Scan" not in plan, f"{name}: {plan}"
            assert "Index" in plan, f"{name}: {plan}"
