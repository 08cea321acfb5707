"""checkout-orchestrator put together from its ports; the same for production and simulation."""

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.core import Metric

from holdfast.bus.port import BusUnavailable, PublishFailed
from holdfast.contracts.topics import EVENTS, ORCHESTRATOR
from holdfast.messaging.breaker import Breaker
from holdfast.messaging.consumer import Chore
from holdfast.messaging.ports import Parts, Ports, assemble
from holdfast.messaging.timers import Deadlines, TimerSettings
from holdfast.runtime.process import Service, run
from holdfast.runtime.settings import DeadlineSettings, ServiceSettings, load
from holdfast.runtime.telemetry import Readings, counter
from holdfast.runtime.wiring import production_ports
from holdfast.sagas.checkout import CHECKOUT
from holdfast.services.checkout_orchestrator.api import app
from holdfast.services.checkout_orchestrator.handlers import CheckoutService
from holdfast.services.checkout_orchestrator.store import PostgresSagaTransaction
from holdfast.services.checkout_orchestrator.store_port import SagaTransaction

DEADLINES_EVERY_MS = 500


@dataclass(frozen=True)
class OrchestratorParts(Parts[SagaTransaction]):
    """The service and its handler, whose counters the metrics show. `breaker` guards publishing."""

    checkout_service: CheckoutService
    breaker: Breaker


def build(ports: Ports[SagaTransaction], timers: TimerSettings) -> OrchestratorParts:
    """Put the service together."""
    checkout_service = CheckoutService({CHECKOUT.version: CHECKOUT}, ports.partitions, timers)
    breaker = Breaker(
        "kafka-publish", (BusUnavailable, PublishFailed), monotonic=lambda: ports.monotonic_ms() / 1000
    )
    parts = assemble(ports, ORCHESTRATOR, checkout_service, breaker=breaker)
    deadlines = Deadlines(timers, EVENTS, checkout_service.fire, parts.relay.producer)
    parts.manager.chores.append(Chore("deadlines", DEADLINES_EVERY_MS, deadlines.run))
    return OrchestratorParts(
        parts.unit_of_work, parts.relay, parts.manager, parts.lying_rows, checkout_service, breaker
    )


def main() -> int:
    """Run the process until it is told to stop."""
    settings = load(ServiceSettings)
    ports = production_ports(settings, ORCHESTRATOR, PostgresSagaTransaction)
    parts = build(ports, load(DeadlineSettings).timers())
    service = Service(
        ORCHESTRATOR,
        settings,
        ports.bus,
        parts,
        ("holdfast.messaging", "holdfast.services.checkout_orchestrator"),
        app=app(ports.store),
        breakers=[parts.breaker],
        closers=[ports.store.close],
    )
    service.registry.register(Readings(lambda: _readings(parts.checkout_service)))
    return run(service)


def _readings(checkout_service: CheckoutService) -> Iterable[Metric]:
    reactions: dict[tuple[str, ...], float] = {
        (name,): float(count) for name, count in checkout_service.reactions.items()
    }
    yield counter(
        "checkout_saga_reactions", "Events by the reaction that they met.", reactions, ("reaction",)
    )
