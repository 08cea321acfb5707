"""Composition root and entry point of checkout-orchestrator; production and simulation share `build`."""

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.core import Metric

from holdfast.bus.port import BusUnavailable, PublishFailed
from holdfast.contracts.topics import EVENTS, ORCHESTRATOR
from holdfast.messaging.breaker import Breaker
from holdfast.messaging.components import Components, Ports, assemble
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.messaging.pruner import Pruner, Pruning, Retention
from holdfast.messaging.timers import Deadlines, TimerSettings
from holdfast.runtime.auth import Authenticator, ServiceAuthenticator
from holdfast.runtime.process import Service, run
from holdfast.runtime.production_ports import production_ports
from holdfast.runtime.settings import CalledServiceSettings, load
from holdfast.runtime.telemetry import MetricsSource, counter
from holdfast.sagas.checkout import CHECKOUT, VERSIONS
from holdfast.services.checkout_orchestrator.api import apps
from holdfast.services.checkout_orchestrator.checkout_service import SAGAS, CheckoutService
from holdfast.services.checkout_orchestrator.metrics import OpenSagaCount
from holdfast.services.checkout_orchestrator.settings import DeadlineSettings
from holdfast.services.checkout_orchestrator.store import PostgresSagaTransaction
from holdfast.services.checkout_orchestrator.store_port import SagaTransaction

DEADLINES_EVERY_MS = 500
READERS = 4


@dataclass(frozen=True)
class OrchestratorComponents(Components[SagaTransaction]):
    """The service, its handler, its deadlines, the count of open sagas; `breaker` guards publishing."""

    checkout_service: CheckoutService
    deadlines: Deadlines
    breaker: Breaker
    open_sagas: OpenSagaCount


def build(ports: Ports[SagaTransaction], timers: TimerSettings) -> OrchestratorComponents:
    """Build the service from its ports."""
    checkout_service = CheckoutService(VERSIONS, ports.partitions, timers)
    breaker = Breaker(
        "kafka-publish", (BusUnavailable, PublishFailed), monotonic=lambda: ports.monotonic_ms() / 1000
    )
    base = assemble(ports, ORCHESTRATOR, checkout_service, breaker=breaker)
    open_sagas = OpenSagaCount([*CHECKOUT.pending_index, CHECKOUT.compensating])
    deadlines = Deadlines(timers, EVENTS, checkout_service.fire, base.relay.producer)
    base.manager.periodic_tasks += [
        PeriodicTask("deadlines", DEADLINES_EVERY_MS, deadlines.run_once),
        open_sagas.periodic_task(),
    ]
    return OrchestratorComponents(
        base.processor,
        base.relay,
        base.manager,
        base.outbox_rescuer,
        checkout_service,
        deadlines,
        breaker,
        open_sagas,
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
    components = build(ports, load(DeadlineSettings).timers())
    # Reads over HTTP have connections of their own, so that they cannot take the writer's.
    reads = PostgresStore(settings.dsn, PostgresSagaTransaction, size=READERS, name=f"{ORCHESTRATOR}-reads")
    services = ServiceAuthenticator(settings.service_jwks, ORCHESTRATOR)
    http = apps(reads, Authenticator(settings.jwks), services, components, components.checkout_service)
    service = Service(
        ORCHESTRATOR,
        settings,
        ports.bus,
        components,
        ("holdfast.messaging", "holdfast.services.checkout_orchestrator"),
        app=http.public,
        ops_app=http.ops,
        breakers=[components.breaker],
        pruner=pruner(ports, settings.retention()),
        closers=[reads.close, ports.store.close],
    )
    service.registry.register(MetricsSource(lambda: _metrics(components)))
    return run(service)


def _metrics(components: OrchestratorComponents) -> Iterable[Metric]:
    yield from components.checkout_service.metrics.readings()
    yield from components.open_sagas.readings()
    failed: dict[tuple[str, ...], float] = {(): components.deadlines.failed}
    yield counter("deadlines_failed", "Deadlines put off because a bug met their saga.", failed)
