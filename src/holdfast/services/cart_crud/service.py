"""cart-crud put together from its ports; the same for production and simulation."""

from holdfast.contracts.topics import CART
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.ports import Parts, Ports, assemble
from holdfast.services.cart_crud.handlers import CartParticipant, CartTransaction


def build(ports: Ports[CartTransaction]) -> Parts[CartTransaction]:
    """Put the service together."""
    return assemble(ports, CART, ParticipantHandler(CartParticipant()))
