"""gateway-bff's part in the saga: how it ended, from `CheckoutCompleted` and `CheckoutFailed`."""

from collections.abc import Sequence

from holdfast.contracts.messages import CheckoutCompleted, CheckoutFailed
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.handler import Handled
from holdfast.services.gateway_bff.domain import COMPLETED, FAILED, Ending
from holdfast.services.gateway_bff.store_port import GatewayTransaction


class StatusHandler:
    """Writes endings; a repeated or older one changes nothing, by the saga's version."""

    def handle(self, tx: GatewayTransaction, envelopes: Sequence[Envelope]) -> Handled:
        versions = tx.lock_checkouts({envelope.saga_id for envelope in envelopes})
        handled = Handled()
        newest: dict[str, Ending] = {}
        for envelope in envelopes:
            if envelope.saga_id not in versions:
                handled.park(envelope, "unknown_checkout", "the gateway never accepted this saga")
                continue
            ending = _ending(envelope)
            if ending.saga_version > versions[envelope.saga_id]:
                versions[envelope.saga_id] = ending.saga_version
                newest[envelope.saga_id] = ending
        if newest:
            tx.end_checkouts(list(newest.values()))
        return handled


def _ending(envelope: Envelope) -> Ending:
    event = envelope.payload
    if isinstance(event, CheckoutCompleted):
        return Ending(
            envelope.saga_id,
            COMPLETED,
            event.saga_version,
            order_id=event.order_id,
            cart_version_left=event.cart_version_left,
        )
    assert isinstance(event, CheckoutFailed)
    return Ending(envelope.saga_id, FAILED, event.saga_version, reason=event.reason, detail=event.detail)
