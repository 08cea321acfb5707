"""`holdfast bus repartition` as it is typed, on the bus and the databases of a whole platform."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.databases import Databases, in_schemas
from tests.samples import saga_id
from typer.testing import CliRunner, Result

from holdfast.bus.partitioner import partition_of
from holdfast.bus.port import Message
from holdfast.cli.main import app
from holdfast.contracts.topics import (
    INVENTORY,
    INVENTORY_COMMANDS,
    ORCHESTRATOR,
    ORDER,
    PARTITIONS_EMBEDDED,
    SERVICES,
    all_topics,
)
from holdfast.runtime.migrations import PartitionsChanged, agree_partitions

FIELDS = {
    "gateway-bff": "gateway",
    "checkout-orchestrator": "orchestrator",
    "inventory-write": "inventory",
    "payment-gateway": "payment",
    "order-create": "order",
    "cart-crud": "cart",
}


class Stopped:
    """A platform whose services are stopped."""

    def __init__(self, databases: Databases, folder: Path) -> None:
        self.databases = databases
        self._file = folder / "sources.json"
        dsns = {FIELDS[service]: databases.dsns[service] for service in SERVICES}
        bus = {"kind": "postgres", "dsn": databases.dsns["bus"]}
        self._file.write_text(json.dumps({**dsns, "bus": bus, "ledger": str(folder / "none")}))
        for service in SERVICES:
            agree_partitions(databases.dsns[service], PARTITIONS_EMBEDDED)

    def repartition(self, partitions: int) -> Result:
        arguments = ["bus", "repartition", "--partitions", str(partitions), "--sources", str(self._file)]
        return CliRunner().invoke(app, arguments)

    def refused(self, partitions: int, why: str) -> None:
        result = self.repartition(partitions)
        assert result.exit_code == 4, result.output
        assert why in " ".join(result.stderr.split())
        for service in SERVICES:
            agree_partitions(self.databases.dsns[service], PARTITIONS_EMBEDDED)
        assert self.counts() == {PARTITIONS_EMBEDDED}

    def counts(self) -> set[int]:
        return {info.partitions for info in self.databases.bus.describe_topics(all_topics()).values()}


@pytest.fixture
def stopped(database: str, tmp_path: Path) -> Iterator[Stopped]:
    databases = Databases(in_schemas(database))
    yield Stopped(databases, tmp_path)
    databases.close()


def test_a_new_number_of_partitions_is_adopted_everywhere_and_timers_follow(stopped: Stopped) -> None:
    databases = stopped.databases
    for n in range(40):
        key = saga_id(n)
        databases.insert(
            ORCHESTRATOR,
            "timers",
            saga_id=key,
            step="payment",
            verb="do",
            kind="deadline",
            partition=partition_of(key.encode(), PARTITIONS_EMBEDDED),
            since_ms=1,
            due_ms=2,
        )
    result = stopped.repartition(7)
    assert (result.exit_code, "6 databases were changed" in result.stderr) == (0, True), result.output
    assert "HOLDFAST_PARTITIONS=7" in result.stderr
    for service in SERVICES:
        agree_partitions(databases.dsns[service], 7)
        with pytest.raises(PartitionsChanged, match="holdfast bus repartition"):
            agree_partitions(databases.dsns[service], PARTITIONS_EMBEDDED)
    assert stopped.counts() == {7}
    databases.bus.create_topics(all_topics(), 7)
    with psycopg.connect(databases.dsns[ORCHESTRATOR]) as connection:
        rows = connection.execute("select saga_id::text, partition from timers").fetchall()
    assert len(rows) == 40
    assert all(partition == partition_of(key.encode(), 7) for key, partition in rows)
    again = stopped.repartition(7)
    assert (again.exit_code, "0 databases were changed" in again.stderr) == (0, True)


def test_nothing_is_adopted_while_an_outbox_holds_a_row(stopped: Stopped) -> None:
    stopped.databases.insert(ORDER, "outbox", count=1, batch=b"x")
    stopped.refused(7, "outbox rows are unpublished: order-create has 1")


def test_nothing_is_adopted_while_a_message_is_unread_or_a_service_lives(stopped: Stopped) -> None:
    bus = stopped.databases.bus
    reader = bus.consumer(INVENTORY, [INVENTORY_COMMANDS])
    reader.poll(1, 0.0)
    stopped.refused(7, "services still run: inventory-write has 1 members")
    publisher = bus.publisher()
    publisher.publish([Message(INVENTORY_COMMANDS, b"key", b"v")])
    publisher.close()
    reader.close()
    stopped.refused(7, "messages are unread: inventory-write has 1 on checkout.inventory-command/")


def test_a_topic_on_postgresql_cannot_become_smaller(stopped: Stopped) -> None:
    stopped.refused(3, "has 4 partitions, which cannot become fewer")


def test_a_half_done_change_is_finished_by_a_repeat(stopped: Stopped) -> None:
    stopped.databases.run(ORDER, "update partitioning set partitions = 7")
    result = stopped.repartition(7)
    assert (result.exit_code, "5 databases were changed" in result.stderr) == (0, True)


def test_databases_that_cannot_be_reached_or_sources_that_are_none_are_said(
    stopped: Stopped, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    arguments = ["bus", "repartition", "--partitions", "7", "--sources", str(broken)]
    assert CliRunner().invoke(app, arguments).exit_code == 2
    sources = json.loads((tmp_path / "sources.json").read_text())
    broken.write_text(
        json.dumps({**sources, "order": "postgresql://nobody@127.0.0.1:9/none?connect_timeout=2"})
    )
    assert CliRunner().invoke(app, arguments).exit_code == 5
    assert stopped.counts() == {PARTITIONS_EMBEDDED}
