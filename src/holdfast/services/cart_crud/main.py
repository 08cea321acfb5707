"""Builds cart-crud from its ports, the same way for production and simulation."""

from holdfast.contracts.topics import CART
from holdfast.messaging.components import Components, Ports, assemble
from holdfast.messaging.fence import FenceState
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.pruner import Pruner, Retention, fences
from holdfast.runtime.auth import Authenticator, ServiceAuthenticator
from holdfast.runtime.process import Service, run
from holdfast.runtime.production_ports import production_ports
from holdfast.runtime.settings import CalledServiceSettings, load
from holdfast.services.cart_crud.api import apps
from holdfast.services.cart_crud.handlers import CartParticipant
from holdfast.services.cart_crud.store import PostgresCartTransaction
from holdfast.services.cart_crud.store_port import CartTransaction


def build(ports: Ports[CartTransaction]) -> Components[CartTransaction]:
    """Build the service."""
    return assemble(ports, CART, ParticipantHandler(CartParticipant()))


def pruner(ports: Ports[CartTransaction], retention: Retention) -> Pruner[CartTransaction]:
    """Prune fence rows of cleared carts: the log of clearances stays, and refuses a second clearance.

    Rows of refused commands stay: without its row, a command that has no last moment could still clear.
    """
    return Pruner(ports, retention, [fences("cart", retention.rows_ms, (FenceState.DONE,))])


def main() -> int:
    """Run the process until it is told to stop."""
    settings = load(CalledServiceSettings)
    ports = production_ports(settings, CART, PostgresCartTransaction)
    components = build(ports)
    services = ServiceAuthenticator(settings.service_jwks, CART)
    made = apps(ports.store, Authenticator(settings.jwks), services)
    service = Service(
        CART,
        settings,
        ports.bus,
        components,
        ("holdfast.messaging", "holdfast.services.cart_crud"),
        app=made.public,
        ops_app=made.ops,
        pruner=pruner(ports, settings.retention()),
        closers=[ports.store.close],
    )
    return run(service)
