"""checkout-orchestrator put together from its ports; the same for production and simulation."""

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.core import Metric

from holdfast.bus.port import BusUnavailable, PublishFailed
from holdfast.contracts.topics import EVENTS, ORCHESTRATOR
from holdfast.messaging.breaker import Breaker
from holdfast.messaging.components import Components, Ports, assemble
from holdfast.messaging.database import PostgresStore
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.pruner import Pruner, Pruning, Retention
from holdfast.messaging.timers import Deadlines, TimerSettings
from holdfast.runtime.auth import Authenticator, ServiceAuthenticator
from holdfast.runtime.process import Service, run
from holdfast.runtime.production_ports import production_ports
from holdfast.runtime.settings import CalledServiceSettings, DeadlineSettings, load
from holdfast.runtime.telemetry import MetricsSource, counter
from holdfast.sagas.checkout import CHECKOUT, VERSIONS
from holdfast.services.checkout_orchestrator.api import apps
from holdfast.services.checkout_orchestrator.checkout_service import SAGAS, CheckoutService
from holdfast.services.checkout_orchestrator.metrics import OpenSagaCount
from holdfast.services.checkout_orchestrator.store import PostgresSagaTransaction
from holdfast.services.checkout_orchestrator.store_port import SagaTransaction

DEADLINES_EVERY_MS = 500
READERS = 4


@dataclass(frozen=True)
class OrchestratorComponents(Components[SagaTransaction]):
    """The service, its handler, its deadlines, the census of open sagas, and what guards publishing."""

    checkout_service: CheckoutService
    deadlines: Deadlines
    breaker: Breaker
    open_sagas: OpenSagaCount


def build(ports: Ports[SagaTransaction], timers: TimerSettings) -> OrchestratorComponents:
    """Put the service together."""
    checkout_service = CheckoutService(VERSIONS, ports.partitions, timers)
    breaker = Breaker(
        "kafka-publish", (BusUnavailable, PublishFailed), monotonic=lambda: ports.monotonic_ms() / 1000
    )
    parts = assemble(ports, ORCHESTRATOR, checkout_service, breaker=breaker)
    census = OpenSagaCount([*CHECKOUT.pending_index, CHECKOUT.compensating])
    deadlines = Deadlines(timers, EVENTS, checkout_service.fire, parts.relay.producer)
    parts.manager.periodic_tasks += [
        PeriodicTask("deadlines", DEADLINES_EVERY_MS, deadlines.run_once),
        census.periodic_task(),
    ]
    return OrchestratorComponents(
        parts.processor,
        parts.relay,
        parts.manager,
        parts.outbox_rescuer,
        checkout_service,
        deadlines,
        breaker,
        census,
    )


def pruner(ports: Ports[SagaTransaction], retention: Retention) -> Pruner[SagaTransaction]:
    """Prune sagas that have ended, with their histories."""
    sagas: Pruning[SagaTransaction] = Pruning(
        SAGAS, retention.rows_ms, lambda tx, page: tx.prune_sagas(CHECKOUT.terminal, page)
    )
    return Pruner(ports, retention, [sagas])


def main() -> int:
    """Run the process until it is told to stop."""
    settings = load(CalledServiceSettings)
    ports = production_ports(settings, ORCHESTRATOR, PostgresSagaTransaction)
    parts = build(ports, load(DeadlineSettings).timers())
    # Whoever asks how a saga stands has connections of its own: no number of them can take the writer's.
    reads = PostgresStore(settings.dsn, PostgresSagaTransaction, size=READERS, name=f"{ORCHESTRATOR}-reads")
    services = ServiceAuthenticator(settings.service_jwks, ORCHESTRATOR)
    made = apps(reads, Authenticator(settings.jwks), services, parts, parts.checkout_service)
    service = Service(
        ORCHESTRATOR,
        settings,
        ports.bus,
        parts,
        ("holdfast.messaging", "holdfast.services.checkout_orchestrator"),
        app=made.public,
        ops_app=made.ops,
        breakers=[parts.breaker],
        pruner=pruner(ports, settings.retention()),
        closers=[reads.close, ports.store.close],
    )
    service.registry.register(MetricsSource(lambda: _readings(parts)))
    return run(service)


def _readings(parts: OrchestratorComponents) -> Iterable[Metric]:
    yield from parts.checkout_service.watch.readings()
    yield from parts.open_sagas.readings()
    failed: dict[tuple[str, ...], float] = {(): parts.deadlines.failed}
    yield counter("deadlines_failed", "Deadlines put off because a bug met their saga.", failed)
