"""checkout-orchestrator put together from its ports; the same for production and simulation."""

from dataclasses import dataclass

from holdfast.contracts.topics import EVENTS, ORCHESTRATOR
from holdfast.messaging.consumer import Chore
from holdfast.messaging.ports import Parts, Ports, assemble
from holdfast.messaging.timers import Deadlines, TimerSettings
from holdfast.sagas.checkout import CHECKOUT
from holdfast.services.checkout_orchestrator.handlers import CheckoutService
from holdfast.services.checkout_orchestrator.store_port import SagaTransaction

DEADLINES_EVERY_MS = 500


@dataclass(frozen=True)
class OrchestratorParts(Parts[SagaTransaction]):
    """The service and its handler, whose counters the metrics show."""

    checkout_service: CheckoutService


def build(ports: Ports[SagaTransaction], timers: TimerSettings) -> OrchestratorParts:
    """Put the service together."""
    checkout_service = CheckoutService({CHECKOUT.version: CHECKOUT}, ports.partitions, timers)
    parts = assemble(ports, ORCHESTRATOR, checkout_service)
    deadlines = Deadlines(timers, EVENTS, checkout_service.fire, parts.relay.producer)
    parts.manager.chores.append(Chore("deadlines", DEADLINES_EVERY_MS, deadlines.run))
    return OrchestratorParts(parts.unit_of_work, parts.relay, parts.manager, checkout_service)
