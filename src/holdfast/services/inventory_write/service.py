"""inventory-write put together from its ports; the same for production and simulation."""

from holdfast.contracts.topics import INVENTORY
from holdfast.messaging.asking import ASK_EVERY_MS, Asking
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.ports import Parts, Ports, assemble
from holdfast.messaging.pruning import Pruner, Retention, fences
from holdfast.runtime.auth import Authenticator
from holdfast.runtime.process import Service, run
from holdfast.runtime.settings import load
from holdfast.runtime.wiring import production_ports
from holdfast.services.inventory_write.api import app
from holdfast.services.inventory_write.handlers import InventoryParticipant, InventoryTransaction
from holdfast.services.inventory_write.settings import InventorySettings
from holdfast.services.inventory_write.store import PostgresInventoryTransaction


def build(
    ports: Ports[InventoryTransaction], ask_every_ms: int = ASK_EVERY_MS
) -> Parts[InventoryTransaction]:
    """Put the service together."""
    asking = Asking("inventory", ports.partitions, ports.monotonic_ms, ask_every_ms)
    return assemble(ports, INVENTORY, ParticipantHandler(InventoryParticipant()), chores=[asking.chore()])


def pruner(ports: Ports[InventoryTransaction], retention: Retention) -> Pruner[InventoryTransaction]:
    """Prune fence rows that have come to rest."""
    return Pruner(ports, retention, [fences("inventory", retention.rows_ms)])


def main() -> int:
    """Run the process until it is told to stop."""
    settings = load(InventorySettings)
    ports = production_ports(settings, INVENTORY, PostgresInventoryTransaction)
    parts = build(ports, settings.ask_every_ms)
    service = Service(
        INVENTORY,
        settings,
        ports.bus,
        parts,
        ("holdfast.messaging", "holdfast.services.inventory_write"),
        ops_app=app(ports.store, Authenticator(settings.jwks)),
        pruner=pruner(ports, settings.retention()),
        closers=[ports.store.close],
    )
    return run(service)
