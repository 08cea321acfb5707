"""Makes, from the settings, the ports that every `build(ports)` gets in production."""

import time
from typing import TypeVar

from holdfast.messaging.components import Ports
from holdfast.messaging.database import PostgresTransaction
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.runtime.bus import connect
from holdfast.runtime.settings import ServiceSettings

T = TypeVar("T", bound=PostgresTransaction)


def production_ports(settings: ServiceSettings, name: str, transaction_type: type[T]) -> Ports[T]:
    """Make a service's ports to its real database and bus. Connects on first use."""
    store = PostgresStore(settings.dsn, transaction_type, size=settings.pool_size, name=name)
    return Ports(store, connect(settings, name), monotonic_ms, settings.instance, settings.partitions)


def monotonic_ms() -> int:
    """Return this process's monotonic clock in milliseconds."""
    return time.monotonic_ns() // 1_000_000
