"""gateway-bff's part in the saga: how it ended, from `CheckoutCompleted` and `CheckoutFailed`."""

from collections.abc import Sequence

from holdfast.contracts.messages import CheckoutCompleted, CheckoutFailed, Payload
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.message_origin import CONTRADICTS_RECORD
from holdfast.services.gateway_bff.domain import COMPLETED, FAILED, TERMINAL, CheckoutEnd
from holdfast.services.gateway_bff.store_port import GatewayTransaction, KnownCheckout


class StatusHandler:
    """Writes endings; a repeated or older one changes nothing, by the saga's version.

    One that contradicts what was accepted, or an end that was written already, is parked.
    """

    def handle(self, tx: GatewayTransaction, envelopes: Sequence[Envelope]) -> HandlerResult:
        known = tx.lock_checkouts({envelope.saga_id for envelope in envelopes})
        handled = HandlerResult()
        newest: dict[str, CheckoutEnd] = {}
        for envelope in envelopes:
            checkout = known.get(envelope.saga_id)
            if checkout is None:
                handled.park(envelope, "unknown_checkout", "the gateway never accepted this saga")
                continue
            ending = _ending(envelope)
            contradiction = _contradiction(checkout, ending, envelope.payload)
            if contradiction:
                handled.park(envelope, CONTRADICTS_RECORD, contradiction)
            elif ending.saga_version > checkout.saga_version:
                known[envelope.saga_id] = checkout._replace(
                    saga_version=ending.saga_version, status=ending.status
                )
                newest[envelope.saga_id] = ending
        if newest:
            tx.end_checkouts(list(newest.values()))
        return handled


def _contradiction(checkout: KnownCheckout, ending: CheckoutEnd, event: Payload) -> str:
    """Say what an end contradicts; empty if nothing."""
    if checkout.status in TERMINAL and checkout.status != ending.status:
        return f"the checkout ended as {checkout.status}"
    if isinstance(event, CheckoutCompleted):
        accepted, paid = (checkout.total_minor, checkout.currency), (event.total_minor, event.currency)
        if paid != accepted:
            return f"{paid[0]} {paid[1]} was paid, {accepted[0]} {accepted[1]} was accepted"
    return ""


def _ending(envelope: Envelope) -> CheckoutEnd:
    event = envelope.payload
    if isinstance(event, CheckoutCompleted):
        return CheckoutEnd(
            envelope.saga_id,
            COMPLETED,
            event.saga_version,
            order_id=event.order_id,
            cart_version_left=event.cart_version_left,
        )
    assert isinstance(event, CheckoutFailed)
    return CheckoutEnd(envelope.saga_id, FAILED, event.saga_version, reason=event.reason, detail=event.detail)
