"""Who there is: each service a principal of its own on PostgreSQL and Kafka, and those that own or only look.

What a principal may do on the bus is derived from the table of topics; enforcing it is the servers'.
"""

from collections.abc import Callable

from holdfast.bus.access import Access, AccessTable
from holdfast.contracts.topics import all_topics, readers_of, writers_of

BUS_OWNER = "bus"
"""The role that owns the embedded bus's database; no service logs in as it."""
OPS, AUDITOR = "ops", "auditor"
"""The roles of people who look and of the audit: they read every table and change none."""


def role_of(service: str) -> str:
    """Return a service's role on PostgreSQL, which is the name of its database too."""
    return service.replace("-", "_")


def postgres_access() -> AccessTable:
    """Return who may use which topic of the bus on PostgreSQL."""
    return _access(role_of)


def kafka_access() -> AccessTable:
    """Return who may use which topic on Kafka, where a service logs in by its own name."""
    return _access(str)


def _access(principal: Callable[[str], str]) -> AccessTable:
    return AccessTable(
        tuple(Access(principal(s), s, topic) for topic in all_topics() for s in sorted(writers_of(topic))),
        tuple(Access(principal(s), s, topic) for topic in all_topics() for s in sorted(readers_of(topic))),
    )
