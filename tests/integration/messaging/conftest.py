"""inventory-write on a fresh database, for the tests of rows and statements that fail."""

from collections.abc import Iterator
from threading import Event

import pytest
from tests.integration.messaging.inventory_harness import Inventory, Store

from holdfast.messaging.postgres_store import PostgresStore
from holdfast.runtime.migrations import migrate
from holdfast.services.inventory_write.store import PostgresInventoryTransaction


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    migrate(database, ["holdfast.messaging", "holdfast.services.inventory_write"], Event().wait)
    store = PostgresStore(database, PostgresInventoryTransaction, size=2)
    yield store
    store.close()


@pytest.fixture
def inventory(store: Store) -> Inventory:
    return Inventory(store)
