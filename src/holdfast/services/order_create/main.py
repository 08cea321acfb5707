"""Builds order-create from its ports, the same way for production and simulation."""

from holdfast.contracts.topics import ORDER
from holdfast.messaging.components import Components, Ports, assemble
from holdfast.messaging.outcome_poller import ASK_EVERY_MS, OutcomePoller
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.pruner import Pruner, Retention, fences
from holdfast.runtime.process import Service, run
from holdfast.runtime.production_ports import production_ports
from holdfast.runtime.settings import load
from holdfast.services.order_create.handlers import OrderParticipant
from holdfast.services.order_create.settings import OrderSettings
from holdfast.services.order_create.store import PostgresOrderTransaction
from holdfast.services.order_create.store_port import OrderTransaction


def build(
    ports: Ports[OrderTransaction], total_max_minor: int, ask_every_ms: int = ASK_EVERY_MS
) -> Components[OrderTransaction]:
    """Build the service; an order above `total_max_minor` is refused."""
    poller = OutcomePoller("order", ports.partitions, ports.monotonic_ms, ask_every_ms)
    handler = ParticipantHandler(OrderParticipant(total_max_minor))
    return assemble(ports, ORDER, handler, periodic_tasks=[poller.periodic_task()])


def pruner(ports: Ports[OrderTransaction], retention: Retention) -> Pruner[OrderTransaction]:
    """Build the pruner of fence rows that are final."""
    return Pruner(ports, retention, [fences("order", retention.rows_ms)])


def main() -> int:
    """Run the process until it is told to stop."""
    settings = load(OrderSettings)
    ports = production_ports(settings, ORDER, PostgresOrderTransaction)
    components = build(ports, settings.order_total_max_minor, settings.ask_every_ms)
    packages = ("holdfast.messaging", "holdfast.services.order_create")
    service = Service(
        ORDER,
        settings,
        ports.bus,
        components,
        packages,
        pruner=pruner(ports, settings.retention()),
        closers=[ports.store.close],
    )
    return run(service)
