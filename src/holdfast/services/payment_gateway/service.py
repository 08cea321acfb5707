"""payment-gateway put together from its ports; the same for production and simulation."""

from dataclasses import dataclass

import structlog

from holdfast.contracts.topics import PAYMENT
from holdfast.messaging.asking import ASK_EVERY_MS, Asking
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.ports import Parts, Ports, assemble
from holdfast.messaging.pruning import Pruner, Retention, fences
from holdfast.messaging.store import StoreUnavailable
from holdfast.runtime.process import ExtraLoop, Service, run
from holdfast.runtime.settings import load
from holdfast.runtime.wiring import production_ports
from holdfast.services.payment_gateway.charging import ChargeLoop, PaymentProvider
from holdfast.services.payment_gateway.handlers import PaymentParticipant, PaymentTransaction
from holdfast.services.payment_gateway.settings import PaymentSettings
from holdfast.services.payment_gateway.store import PostgresPaymentTransaction
from holdfast.services.payment_gateway.stripe_provider import StripeProvider

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PaymentParts(Parts[PaymentTransaction]):
    """The service and its charge loop, which has a thread of its own."""

    charge_loop: ChargeLoop


def build(
    ports: Ports[PaymentTransaction], provider: PaymentProvider, ask_every_ms: int = ASK_EVERY_MS
) -> PaymentParts:
    """Put the service together."""
    asking = Asking("payment", ports.partitions, ports.monotonic_ms, ask_every_ms)
    parts = assemble(ports, PAYMENT, ParticipantHandler(PaymentParticipant()), chores=[asking.chore()])
    loop = ChargeLoop(parts.unit_of_work, parts.relay, provider)
    return PaymentParts(parts.unit_of_work, parts.relay, parts.manager, parts.lying_rows, loop)


IDLE_S = 0.25
TROUBLE_S = 1.0


def pruner(ports: Ports[PaymentTransaction], retention: Retention) -> Pruner[PaymentTransaction]:
    """Prune fence rows that have come to rest."""
    return Pruner(ports, retention, [fences("payment", retention.rows_ms)])


def main() -> int:
    """Run the process until it is told to stop."""
    settings = load(PaymentSettings)
    ports = production_ports(settings, PAYMENT, PostgresPaymentTransaction)
    secret_key = settings.provider_key_file.read_text("utf-8").strip()
    provider = StripeProvider(settings.provider_url, secret_key, settings.provider_timeout_s)
    parts = build(ports, provider, settings.ask_every_ms)
    charges = ExtraLoop("charges", lambda: charge_round(parts.charge_loop), woken_by_batches=True)
    service = Service(
        PAYMENT,
        settings,
        ports.bus,
        parts,
        ("holdfast.messaging", "holdfast.services.payment_gateway"),
        extra_loops=[charges],
        pruner=pruner(ports, settings.retention()),
        closers=[provider.close, ports.store.close],
    )
    return run(service)


def charge_round(loop: ChargeLoop) -> float:
    """Make one round of charges; return how long to rest. Trouble leaves everything to the next round."""
    try:
        return 0.0 if loop.step() else IDLE_S
    except StoreUnavailable as error:
        log.warning("charges_failed", error=str(error))
        return TROUBLE_S
