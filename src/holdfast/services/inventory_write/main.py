"""Builds inventory-write from its ports, the same way for production and simulation."""

from holdfast.contracts.topics import INVENTORY
from holdfast.messaging.components import Components, Ports, assemble
from holdfast.messaging.outcome_poller import ASK_EVERY_MS, OutcomePoller
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.pruner import Pruner, Retention, fences
from holdfast.runtime.auth import Authenticator
from holdfast.runtime.process import Service, run
from holdfast.runtime.production_ports import production_ports
from holdfast.runtime.settings import load
from holdfast.services.inventory_write.api import app
from holdfast.services.inventory_write.handlers import InventoryParticipant
from holdfast.services.inventory_write.settings import InventorySettings
from holdfast.services.inventory_write.store import PostgresInventoryTransaction
from holdfast.services.inventory_write.store_port import InventoryTransaction


def build(
    ports: Ports[InventoryTransaction], ask_every_ms: int = ASK_EVERY_MS
) -> Components[InventoryTransaction]:
    """Build the service."""
    poller = OutcomePoller("inventory", ports.partitions, ports.monotonic_ms, ask_every_ms)
    return assemble(
        ports, INVENTORY, ParticipantHandler(InventoryParticipant()), periodic_tasks=[poller.periodic_task()]
    )


def pruner(ports: Ports[InventoryTransaction], retention: Retention) -> Pruner[InventoryTransaction]:
    """Build the pruner of fence rows that are final."""
    return Pruner(ports, retention, [fences("inventory", retention.rows_ms)])


def main() -> int:
    """Run the process until it is told to stop."""
    settings = load(InventorySettings)
    ports = production_ports(settings, INVENTORY, PostgresInventoryTransaction)
    components = build(ports, settings.ask_every_ms)
    service = Service(
        INVENTORY,
        settings,
        ports.bus,
        components,
        ("holdfast.messaging", "holdfast.services.inventory_write"),
        ops_app=app(ports.store, Authenticator(settings.jwks)),
        pruner=pruner(ports, settings.retention()),
        closers=[ports.store.close],
    )
    return run(service)
