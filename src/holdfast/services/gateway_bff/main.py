"""Composition root and entry point of gateway-bff; production and simulation share `build`."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client.core import Metric

from holdfast.bus.port import BusUnavailable, PublishFailed
from holdfast.contracts.topics import GATEWAY
from holdfast.messaging.breaker import Breaker
from holdfast.messaging.components import Components, Ports, assemble
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.messaging.pruner import Pruner, Pruning, Retention
from holdfast.runtime.auth import Authenticator
from holdfast.runtime.process import Service, run
from holdfast.runtime.production_ports import production_ports
from holdfast.runtime.service_tokens import ServiceTokens
from holdfast.runtime.settings import load
from holdfast.runtime.telemetry import MetricsSource, counter, gauge
from holdfast.services.gateway_bff.admission import CheckoutAdmission
from holdfast.services.gateway_bff.api import app
from holdfast.services.gateway_bff.checkout_resender import FIRST_AFTER_MS, CheckoutResender
from holdfast.services.gateway_bff.checkout_starter import CheckoutStarter
from holdfast.services.gateway_bff.completion_waiter import CompletionWaiter
from holdfast.services.gateway_bff.domain import NOT_AFTER_MS
from holdfast.services.gateway_bff.load_shedding import LoadLimits, LoadShedding
from holdfast.services.gateway_bff.settings import GatewaySettings
from holdfast.services.gateway_bff.status_handler import StatusHandler
from holdfast.services.gateway_bff.store import PostgresGatewayTransaction
from holdfast.services.gateway_bff.store_port import GatewayTransaction
from holdfast.services.gateway_bff.upstream_clients import UpstreamClients

READERS = 4


@dataclass(frozen=True)
class GatewayComponents(Components[GatewayTransaction]):
    """The service and its write side, which the HTTP API calls. `breaker` guards publishing."""

    starter: CheckoutStarter
    breaker: Breaker
    load_shedding: LoadShedding


def build(
    ports: Ports[GatewayTransaction],
    random_80_bits: Callable[[], int],
    resend_after_ms: int = FIRST_AFTER_MS,
    not_after_ms: int = NOT_AFTER_MS,
    limits: LoadLimits | None = None,
) -> GatewayComponents:
    """Build the service from its ports; `random_80_bits` feeds the saga ids."""
    breaker = Breaker(
        "kafka-publish", (BusUnavailable, PublishFailed), monotonic=lambda: ports.monotonic_ms() / 1000
    )
    resender = CheckoutResender(ports.partitions, resend_after_ms)
    base = assemble(
        ports, GATEWAY, StatusHandler(), breaker=breaker, periodic_tasks=[resender.periodic_task()]
    )
    starter = CheckoutStarter(base.processor, base.relay, random_80_bits, not_after_ms)
    shedding = LoadShedding(limits or LoadLimits(), base.relay, base.outbox_age_ms)
    return GatewayComponents(
        base.processor, base.relay, base.manager, base.outbox_rescuer, starter, breaker, shedding
    )


def pruner(ports: Ports[GatewayTransaction], retention: Retention) -> Pruner[GatewayTransaction]:
    """Prune checkouts that have ended, with their idempotency keys."""
    checkouts: Pruning[GatewayTransaction] = Pruning(
        "checkout", retention.rows_ms, lambda tx, page: tx.prune_checkouts(page)
    )
    return Pruner(ports, retention, [checkouts])


def main() -> int:
    """Run the process until it is told to stop."""
    settings = load(GatewaySettings)
    ports = production_ports(settings, GATEWAY, PostgresGatewayTransaction)
    limits = LoadLimits(under_way_max=settings.under_way_max)
    not_after_ms = settings.not_after_s * 1000
    components = build(ports, lambda: secrets.randbits(80), settings.resend_after_ms, not_after_ms, limits)
    components.manager.periodic_tasks.append(components.load_shedding.periodic_task())
    # Reads over HTTP have connections of their own, so that no load can take the writer's.
    reads = PostgresStore(settings.dsn, PostgresGatewayTransaction, size=READERS, name=f"{GATEWAY}-reads")
    tokens = ServiceTokens(settings.service_key, GATEWAY)
    upstreams = UpstreamClients(settings.cart_url, settings.orchestrator_url, tokens.authorization)
    waiter = CompletionWaiter(reads)
    components.manager.after_batch.append(waiter.endings_written)
    admission = CheckoutAdmission(
        reads, components.starter, upstreams.snapshots, components.breaker, components.load_shedding
    )
    service = Service(
        GATEWAY,
        settings,
        ports.bus,
        components,
        ("holdfast.messaging", "holdfast.services.gateway_bff"),
        app=app(reads, Authenticator(settings.jwks), admission, upstreams, waiter),
        breakers=[components.breaker],
        leaving=[waiter.leave],
        pruner=pruner(ports, settings.retention()),
        closers=[reads.close, ports.store.close],
    )
    service.registry.register(MetricsSource(lambda: _metrics(waiter, components.load_shedding)))
    return run(service)


def _metrics(waiter: CompletionWaiter, shedding: LoadShedding) -> Iterable[Metric]:
    shed: dict[tuple[str, ...], float] = {(reason,): count for reason, count in shedding.counts.items()}
    yield counter("checkouts_shed", "Checkouts turned away for load, by the limit met.", shed, ("reason",))
    yield gauge("checkouts_under_way", "Open checkouts, as last counted.", {(): shedding.under_way})
    yield gauge("checkout_answers_held", "Answers held back until a checkout ends.", {(): waiter.held})
