"""A platform's databases without a platform: empty, from their migrations, with short ways to write.

What a sound checkout leaves in them is in `world`.
"""

import time
from collections.abc import Mapping
from typing import Any

import psycopg
from tests.open_bus import OpenBus

from holdfast.contracts.topics import PARTITIONS_EMBEDDED, SERVICES, all_topics
from holdfast.runtime.migrations import migrate

BUS = "bus"


class Databases:
    """One database a service, and the bus's; `dsns` are by service, and `bus`."""

    def __init__(self, dsns: Mapping[str, str]) -> None:
        self.dsns = dsns
        self._connections: dict[str, psycopg.Connection[Any]] = {}
        for service in SERVICES:
            package = f"holdfast.services.{service.replace('-', '_')}"
            migrate(dsns[service], ["holdfast.messaging", package], time.sleep)
        self.bus = OpenBus(dsns[BUS])
        self.bus.create_topics(all_topics(), PARTITIONS_EMBEDDED)

    def run(self, service: str, statement: str, *values: Any) -> None:
        """Run SQL in a service's database (or the bus's), and commit."""
        if service not in self._connections:
            self._connections[service] = psycopg.connect(self.dsns[service], autocommit=True)
        self._connections[service].execute(statement.encode(), values or None)

    def insert(self, service: str, table: str, **columns: Any) -> None:
        """Insert one row; what is not named takes its default."""
        marks = ", ".join(["%s"] * len(columns))
        self.run(service, f"insert into {table} ({', '.join(columns)}) values ({marks})", *columns.values())

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self.bus.close()


def in_schemas(dsn: str) -> dict[str, str]:
    """Make a schema for each database of a world in this one, and return their DSNs: quick to have anew."""
    names = {name: name.replace("-", "_") for name in (*SERVICES, BUS)}
    with psycopg.connect(dsn) as connection:
        for schema in names.values():
            connection.execute(f"create schema {schema}".encode())
    options = "-csynchronous_commit%3Doff%20-csearch_path%3D"  # no test outlives its server
    return {name: f"{dsn}&options={options}{schema}" for name, schema in names.items()}
