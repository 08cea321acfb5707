"""payment-gateway put together from its ports; the same for production and simulation."""

from dataclasses import dataclass

from holdfast.contracts.topics import PAYMENT
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.ports import Parts, Ports, assemble
from holdfast.services.payment_gateway.charging import ChargeLoop, PaymentProvider
from holdfast.services.payment_gateway.handlers import PaymentParticipant, PaymentTransaction


@dataclass(frozen=True)
class PaymentParts(Parts[PaymentTransaction]):
    """The service and its charge loop, which has a thread of its own."""

    charge_loop: ChargeLoop


def build(ports: Ports[PaymentTransaction], provider: PaymentProvider) -> PaymentParts:
    """Put the service together."""
    parts = assemble(ports, PAYMENT, ParticipantHandler(PaymentParticipant()))
    loop = ChargeLoop(parts.unit_of_work, parts.relay, provider)
    return PaymentParts(parts.unit_of_work, parts.relay, parts.manager, loop)
