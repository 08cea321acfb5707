"""order-create put together from its ports; the same for production and simulation."""

from holdfast.contracts.topics import ORDER
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.ports import Parts, Ports, assemble
from holdfast.services.order_create.handlers import OrderParticipant, OrderTransaction


def build(ports: Ports[OrderTransaction], total_max_minor: int) -> Parts[OrderTransaction]:
    """Put the service together; an order above `total_max_minor` is refused."""
    return assemble(ports, ORDER, ParticipantHandler(OrderParticipant(total_max_minor)))
