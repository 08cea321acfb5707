"""What an owner makes on the embedded server before any service starts: roles, databases, the bus.

On a cluster a person does the same once: docs/how-to/run-on-clusters.md.
"""

from holdfast.bus.postgres import schema as postgres_schema
from holdfast.contracts import topics
from holdfast.local import process_table
from holdfast.local.info import BusInfo
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.runtime.principals import AUDITOR, BUS_OWNER, OPS, postgres_access, role_of

READERS = (OPS, AUDITOR)


def create_databases(server: EmbeddedPostgres) -> None:
    """Give every service, and the bus, a role and a database of its own, and let the readers read them."""
    owners = {
        process_table.BUS_DATABASE: BUS_OWNER,
        **{process_table.database(s): role_of(s) for s in topics.SERVICES},
    }
    server.ensure_roles(list(owners.values()), READERS)
    for database, owner in owners.items():
        server.ensure_database(database, owner, READERS)


def set_up_bus(server: EmbeddedPostgres) -> BusInfo:
    """Make the bus, as its owner, with every service's rights. Raises BusUnavailable."""
    owner = server.dsn(process_table.BUS_DATABASE, BUS_OWNER)
    postgres_schema.set_up(owner, topics.all_topics(), topics.PARTITIONS_EMBEDDED, postgres_access())
    return BusInfo("postgres", dsn=server.dsn(process_table.BUS_DATABASE, AUDITOR), owner_dsn=owner)
