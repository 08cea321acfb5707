"""A message with a card number, at a real service on real PostgreSQL: no file of the database has it."""

import time
from typing import Any
from uuid import uuid4

import psycopg
from tests.samples import SAMPLES, saga_id

from holdfast.bus.memory import MemoryBus
from holdfast.bus.port import Record
from holdfast.contracts.card_numbers import luhn
from holdfast.contracts.topics import INVENTORY_COMMANDS, ORCHESTRATOR, all_topics
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.messaging.components import Components, Ports
from holdfast.messaging.envelope import seal
from holdfast.messaging.parked import LogPosition, ParkedRecord
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.runtime.migrations import migrate
from holdfast.services.inventory_write import main as inventory_write
from holdfast.services.inventory_write.store import PostgresInventoryTransaction


def fresh_card() -> str:
    digits = f"4{uuid4().int % 10**14:014}"
    return next(digits + last for last in "0123456789" if luhn(digits + last))


def command(n: int, old: bytes = b"", new: bytes = b"") -> Record:
    saga = saga_id(n)
    sealed = seal(f"{saga}:inventory:do", "ReserveInventory", saga, SAMPLES["ReserveInventory"], ORCHESTRATOR)
    value = (sealed.value or b"").replace(old, new, 1) if old else sealed.value
    return Record(INVENTORY_COMMANDS, 0, n, sealed.key, value, sealed.headers, 0, ORCHESTRATOR)


def test_no_file_of_the_database_holds_it_and_its_neighbours_are_handled(
    postgres: EmbeddedPostgres, database: str
) -> None:
    card, marker = fresh_card(), uuid4().hex
    migrate(database, ["holdfast.messaging", "holdfast.services.inventory_write"], time.sleep)
    store: PostgresStore[Any] = PostgresStore(database, PostgresInventoryTransaction)
    bus = MemoryBus(lambda: 0.0)
    bus.create_topics(all_topics(), 1)
    parts: Components[Any] = inventory_write.build(Ports(store, bus, lambda: 0, "test", 1))
    spoilt = command(2, b'{"lines"', f'{{"note":"{marker}","pan":"{card}","lines"'.encode())
    broken = command(
        3, b'{"lines"', f"{{ {card} {card[:4]}\u00a0{card[4:8]}-{card[8:12]}.{card[12:]}".encode()
    )
    parts.processor.run([command(1), spoilt, broken, command(4)])
    parts.processor.park(command(5), "handler_failed", f"ValueError: {card}")
    with store.transaction() as tx:
        rows: dict[LogPosition, ParkedRecord] = {
            row.place: row
            for row in tx.lock_parked([LogPosition(INVENTORY_COMMANDS, 0, n) for n in (2, 3, 5)])
        }
        fences = tx.lock_fences("inventory", [saga_id(1), saga_id(4)])
    store.close()
    assert [row.reason for row in rows.values()] == ["card_number", "malformed_json", "handler_failed"]
    assert len(fences) == 2
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("checkpoint")
    kept = b"\n\n".join(path.read_bytes() for path in sorted(postgres.data_dir.rglob("*")) if path.is_file())
    assert marker.encode() in kept, "what may be kept is found on the disk"
    assert card.encode() not in kept
    assert card[4:8].encode() + b"-" + card[8:12].encode() not in kept
