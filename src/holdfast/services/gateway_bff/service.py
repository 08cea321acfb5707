"""gateway-bff put together from its ports; the same for production and simulation."""

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.bus.port import BusUnavailable, PublishFailed
from holdfast.contracts.topics import GATEWAY
from holdfast.messaging.breaker import Breaker
from holdfast.messaging.ports import Parts, Ports, assemble
from holdfast.services.gateway_bff.accepting import Acceptor
from holdfast.services.gateway_bff.handlers import StatusHandler
from holdfast.services.gateway_bff.resending import FIRST_AFTER_MS, Resending
from holdfast.services.gateway_bff.store_port import GatewayTransaction


@dataclass(frozen=True)
class GatewayParts(Parts[GatewayTransaction]):
    """The service and its write side, which the HTTP API feeds. `breaker` guards publishing."""

    acceptor: Acceptor
    breaker: Breaker


def build(
    ports: Ports[GatewayTransaction], random_80_bits: Callable[[], int], resend_after_ms: int = FIRST_AFTER_MS
) -> GatewayParts:
    """Put the service together; `random_80_bits` feeds the saga ids."""
    breaker = Breaker("kafka-publish", (BusUnavailable, PublishFailed))
    resending = Resending(ports.partitions, resend_after_ms)
    parts = assemble(ports, GATEWAY, StatusHandler(), breaker=breaker, chores=[resending.chore()])
    acceptor = Acceptor(parts.unit_of_work, parts.relay, random_80_bits)
    return GatewayParts(parts.unit_of_work, parts.relay, parts.manager, parts.lying_rows, acceptor, breaker)
