"""inventory-write put together from its ports; the same for production and simulation."""

from holdfast.contracts.topics import INVENTORY
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.ports import Parts, Ports, assemble
from holdfast.services.inventory_write.handlers import InventoryParticipant, InventoryTransaction


def build(ports: Ports[InventoryTransaction]) -> Parts[InventoryTransaction]:
    """Put the service together."""
    return assemble(ports, INVENTORY, ParticipantHandler(InventoryParticipant()))
