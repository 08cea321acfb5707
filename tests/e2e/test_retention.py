"""A live platform that keeps what has ended for seconds: it goes, books stay, and old messages do nothing."""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from tests.e2e.conftest import ENVIRONMENT, PENS, frozen, replay_histories
from tests.e2e.shopper import Operator, Shopper
from tests.e2e.topics import bus_of, publish_as
from tests.eventually import eventually
from tests.origin import source_of

from holdfast import audit
from holdfast.bus.port import Consumer, Message, Record
from holdfast.contracts.topics import (
    CART,
    GATEWAY,
    INVENTORY,
    ORCHESTRATOR,
    ORDER,
    PAYLOADS,
    PAYMENT,
    SERVICES,
    TOPICS,
)
from holdfast.local.platform import Platform
from holdfast.local.process_table import database

NOT_AFTER_S = 30
WAIT_S = 120.0
SHORT = ENVIRONMENT | {
    "HOLDFAST_NOT_AFTER_S": str(NOT_AFTER_S),
    "HOLDFAST_TOPIC_RETENTION_S": "1",
    "HOLDFAST_CONSUMED_RETENTION_S": "1",
    "HOLDFAST_DEAD_LETTER_RETENTION_S": "1",
    "HOLDFAST_ROW_RETENTION_S": str(NOT_AFTER_S + 3),
    "HOLDFAST_PRUNE_EVERY_S": "1",
}
PRUNED = {
    ORCHESTRATOR: ("saga", "saga_event"),
    GATEWAY: ("checkout",),
    INVENTORY: ("fence",),
    PAYMENT: ("fence",),
    ORDER: ("fence",),
    CART: ("fence where state = 'DONE'",),  # what a cart refused is kept
}
BOOKS = {
    ORCHESTRATOR: ("saga", "saga_event"),
    GATEWAY: ("checkout",),
    INVENTORY: ("stock", "stock_movement"),
    PAYMENT: ("payment",),
    ORDER: ("orders",),
    CART: ("cart", "clear_log"),
}


KEPT_FOR_SECONDS = frozenset({"saga", "saga_event", "checkout"})


def rows(platform: Platform, service: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(platform.postgres.dsn(database(service))) as connection:
        return connection.execute(statement.encode()).fetchall()


def left(platform: Platform) -> list[str]:
    return [
        f"{service}: {table}"
        for service, tables in PRUNED.items()
        for table in tables
        if rows(platform, service, f"select count(*) from {table}") != [(0,)]
    ]


def on_the_bus(platform: Platform, statement: str) -> int:
    with psycopg.connect(platform.postgres.dsn("bus")) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return int(row[0])


class Reader:
    """Reads every topic as a group of its own. Until it commits, nothing on the bus may go."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._bus = bus_of(platform)
        self._consumer: Consumer = self._bus.consumer(f"reader-{uuid4().hex}", sorted(TOPICS))
        places = sum(self._bus.partition_count(topic) for topic in TOPICS)
        self.records: list[Record] = []
        eventually(
            lambda: self._poll() and len(self._consumer.assignment()) == places, "it has joined", WAIT_S
        )

    def kinds(self) -> set[str]:
        """Read on; return the types of all that was read so far."""
        self._poll()
        return {dict(record.headers)["ce_type"].decode() for record in self.records}

    def commit(self) -> None:
        """Be done with all that was read."""
        self._consumer.commit({record.place: record.offset + 1 for record in self.records})

    def publish_all_again(self) -> None:
        """Publish every message once more, as the service that it is from."""
        again = [Message(each.topic, each.key or b"", each.value, each.headers) for each in self.records]
        for service in SERVICES:
            publish_as(self._platform, service, [each for each in again if source_of(each) == service])

    def close(self) -> None:
        self._consumer.close()
        self._bus.close()

    def _poll(self) -> bool:
        self.records += self._consumer.poll(500, 0.05)
        return True


def test_ended_sagas_are_pruned_and_their_old_messages_do_nothing(tmp_path: Path) -> None:
    with Platform(tmp_path / "data", environment=SHORT) as platform:
        platform.wait_ready(120)
        Operator(platform.info).stock(PENS)
        shopper = Shopper(platform.info)
        with closing(Reader(platform)) as reader:
            bought, *_ = shop_in_every_way(platform, shopper, reader)
            eventually(lambda: reader.kinds() == set(PAYLOADS), "every kind of message was sent", WAIT_S)
            replay_histories(platform)
            eventually(lambda: not left(platform), "every ended saga is pruned", WAIT_S)
            assert shopper.client.get(f"/v1/checkouts/{bought}").status_code == 404
            assert (bought, "PLACED") in rows(platform, ORDER, "select saga_id::text, status from orders")
            held = on_the_bus(platform, "select sum(end_offset - base_offset) from log")
            assert held >= len(reader.records), "one group has not read it"
            reader.kinds()
            reader.commit()
            eventually(
                lambda: on_the_bus(platform, "select count(*) from log") == 0, "the log is empty", WAIT_S
            )

            shopper.end_of(shopper.buy({"pen": 1}))
            assert audit.run(Path(platform.info.data), WAIT_S).exit_code == 0
            before = books(platform)
            reader.publish_all_again()
            report = audit.run(Path(platform.info.data), WAIT_S)
            after = books(platform)
        assert (report.exit_code, report.violations) == (0, [])
        for name in after:
            assert after[name] <= before[name], f"{name}: nothing new"
            assert name in KEPT_FOR_SECONDS or after[name] == before[name], f"{name}: nothing gone"
        why = f"select reason from parked where saga_id = '{bought}' and message_id = '{bought}:initiated'"
        assert rows(platform, ORCHESTRATOR, why) == [("pruned_saga",)]
        assert shopper.end_of(shopper.buy({"pen": 1}))["state"] == "COMPLETED"


def shop_in_every_way(platform: Platform, shopper: Shopper, reader: Reader) -> list[str]:
    """Have checkouts end in every way, the first COMPLETED, and one step ask; return the saga ids."""
    completed = [shopper.buy({"pen": 2})]
    failed = [
        shopper.buy({"gem": 11}),
        shopper.buy({"pen": 1}, card="pm_card_chargeDeclined"),
        shopper.buy({"pen": 4001}),
    ]
    cart_id = f"cart-{uuid4().hex[:12]}"
    shopper.fill(cart_id, {"ink": 1})
    rows(platform, CART, f"update cart set held = 'fraud' where cart_id = '{cart_id}' returning 1")
    failed.append(str(shopper.post(cart_id).json()["saga_id"]))
    assert {shopper.end_of(saga_id)["state"] for saga_id in failed} == {"FAILED"}
    cart_id = f"cart-{uuid4().hex[:12]}"
    shopper.fill(cart_id, {"pen": 1})
    with frozen(platform, INVENTORY):
        completed.append(str(shopper.post(cart_id).json()["saga_id"]))
        platform.kill(CART, signal.SIGSTOP)
    try:
        eventually(lambda: "OutcomeRequested" in reader.kinds(), "somebody asks", WAIT_S)
    finally:
        platform.kill(CART, signal.SIGCONT)
    assert {shopper.end_of(saga_id)["state"] for saga_id in completed} == {"COMPLETED"}
    return [*completed, *failed]


def books(platform: Platform) -> dict[str, set[tuple[Any, ...]]]:
    """Return every row that says what was bought, moved and paid, the provider's ledger among them."""
    found = {
        table: {tuple(map(str, row)) for row in rows(platform, service, f"select * from {table}")}
        for service, tables in BOOKS.items()
        for table in tables
    }
    ledger = (platform.info.folder.root / "provider" / "ledger.sqlite").as_uri()
    with closing(sqlite3.connect(f"{ledger}?mode=ro", uri=True)) as session:
        found["ledger"] = set(session.execute("select seq, kind, status, amount, saga_id from entries"))
    return found
