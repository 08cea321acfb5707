"""The principals on PostgreSQL and Kafka: one for each service, one that owns the bus, two that only read.

A principal's rights on the bus are derived from the table of topics; PostgreSQL and Kafka enforce them.
"""

from collections.abc import Callable

from holdfast.bus.access import Access, AccessTable
from holdfast.contracts.topics import all_topics, readers_of, writers_of

BUS_OWNER = "bus"
"""The role that owns the embedded bus's database; no service logs in as it."""
OPS, AUDITOR = "ops", "auditor"
"""The roles of operators and of the audit: they read every table and change none."""


def role_of(service: str) -> str:
    """Return the name of a service's role on PostgreSQL; its database has the same name."""
    return service.replace("-", "_")


def postgres_access() -> AccessTable:
    """Return who may use which topic of the bus on PostgreSQL."""
    return _access(role_of)


def kafka_access() -> AccessTable:
    """Return who may use which topic on Kafka; there a service logs in with its own name."""
    return _access(str)


def _access(principal: Callable[[str], str]) -> AccessTable:
    return AccessTable(
        tuple(Access(principal(s), s, topic) for topic in all_topics() for s in sorted(writers_of(topic))),
        tuple(Access(principal(s), s, topic) for topic in all_topics() for s in sorted(readers_of(topic))),
    )
