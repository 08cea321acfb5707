"""Builds payment-gateway from its ports, the same way for production and simulation."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.contracts.topics import PAYMENT
from holdfast.messaging.components import Components, Ports, assemble
from holdfast.messaging.outcome_poller import ASK_EVERY_MS, OutcomePoller
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.pruner import Pruner, Retention, fences
from holdfast.runtime.auth import Authenticator
from holdfast.runtime.process import ExtraLoop, Service, run
from holdfast.runtime.production_ports import production_ports
from holdfast.runtime.settings import load
from holdfast.runtime.telemetry import MetricsSource
from holdfast.services.payment_gateway.api import PaymentApi, WebhookApi, apps
from holdfast.services.payment_gateway.charging import LEASE_MS, ChargeLoop, PaymentProvider
from holdfast.services.payment_gateway.continuous import IDLE_S, LINGER_S, Caller, ContinuousCharges
from holdfast.services.payment_gateway.handlers import PaymentParticipant, PaymentTransaction
from holdfast.services.payment_gateway.metrics import OpenPaymentsMetrics
from holdfast.services.payment_gateway.payment_operator import PaymentOperator
from holdfast.services.payment_gateway.settings import PaymentSettings
from holdfast.services.payment_gateway.settlement import Settlement
from holdfast.services.payment_gateway.store import PostgresPaymentTransaction
from holdfast.services.payment_gateway.stripe_provider import StripeProvider


@dataclass(frozen=True)
class PaymentComponents(Components[PaymentTransaction]):
    """The service and its charge loop, which runs in its own thread."""

    charge_loop: ChargeLoop


def build(
    ports: Ports[PaymentTransaction],
    provider: PaymentProvider,
    ask_every_ms: int = ASK_EVERY_MS,
    claim_lease_ms: int = LEASE_MS,
) -> PaymentComponents:
    """Build the service."""
    poller = OutcomePoller("payment", ports.partitions, ports.monotonic_ms, ask_every_ms)
    parts = assemble(
        ports, PAYMENT, ParticipantHandler(PaymentParticipant()), periodic_tasks=[poller.periodic_task()]
    )
    loop = ChargeLoop(parts.processor, parts.relay, provider, claim_lease_ms)
    return PaymentComponents(parts.processor, parts.relay, parts.manager, parts.outbox_rescuer, loop)


def keep_charging(
    parts: PaymentComponents,
    caller: Caller,
    monotonic: Callable[[], float] = time.monotonic,
    *,
    idle_s: float = IDLE_S,
    linger_s: float = LINGER_S,
) -> ContinuousCharges:
    """Build what drives the charge loop; every batch of the writer wakes it."""
    charges = ContinuousCharges(
        parts.charge_loop, caller, monotonic=monotonic, idle_s=idle_s, linger_s=linger_s
    )
    parts.manager.after_batch.append(charges.wake)
    return charges


def pruner(ports: Ports[PaymentTransaction], retention: Retention) -> Pruner[PaymentTransaction]:
    """Build the pruner of fence rows that are final."""
    return Pruner(ports, retention, [fences("payment", retention.rows_ms)])


def main() -> int:
    """Run the process until it is told to stop."""
    settings = load(PaymentSettings)
    ports = production_ports(settings, PAYMENT, PostgresPaymentTransaction)
    key = _secret(settings.provider_key_file)
    provider = StripeProvider(settings.provider_url, key, settings.provider_timeout_s)
    parts = build(ports, provider, settings.ask_every_ms, settings.claim_lease_ms)
    charges = keep_charging(parts, provider)
    settlement = Settlement(
        parts.processor, parts.charge_loop, provider, ports.monotonic_ms, settings.settle_every_ms
    )
    payments_metrics = OpenPaymentsMetrics()
    parts.manager.periodic_tasks.append(payments_metrics.periodic_task())
    operator = PaymentOperator(ports.store, parts.charge_loop, provider)
    webhook = None
    if settings.provider_webhook_secret_file is not None:
        secret = _secret(settings.provider_webhook_secret_file)
        webhook = WebhookApi(secret, operator, settlement, charges.wake)
    made = apps(PaymentApi(operator, Authenticator(settings.jwks)), webhook)
    service = Service(
        PAYMENT,
        settings,
        ports.bus,
        parts,
        ("holdfast.messaging", "holdfast.services.payment_gateway"),
        app=made.public,
        ops_app=made.ops,
        extra_loops=[
            ExtraLoop("charges", charges.run_once, drain=charges.drain),
            ExtraLoop("settlement", settlement.run_once),
        ],
        pruner=pruner(ports, settings.retention()),
        closers=[provider.close, ports.store.close],
        breakers=[provider.breaker, provider.refund_breaker, provider.look_up_breaker],
    )
    service.registry.register(MetricsSource(lambda: payments_metrics.readings(parts.charge_loop)))
    return run(service)


def _secret(path: Path) -> str:
    return path.read_text("utf-8").strip()
