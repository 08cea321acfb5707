"""gateway-bff's part in the saga: it records the end, from `CheckoutCompleted` and `CheckoutFailed`."""

from collections.abc import Sequence

from holdfast.contracts.messages import CheckoutCompleted, CheckoutFailed, Payload
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.message_origin import CONTRADICTS_RECORD
from holdfast.services.gateway_bff.domain import COMPLETED, FAILED, TERMINAL, CheckoutEnd
from holdfast.services.gateway_bff.store_port import GatewayTransaction, KnownCheckout


class StatusHandler:
    """Writes how checkouts ended; the saga's version tells repeated or older events, which change nothing.

    An event that contradicts the accepted checkout, or an end that was written already, is parked.
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
            end = _end(envelope)
            contradiction = _contradiction(checkout, end, envelope.payload)
            if contradiction:
                handled.park(envelope, CONTRADICTS_RECORD, contradiction)
            elif end.saga_version > checkout.saga_version:
                known[envelope.saga_id] = checkout._replace(saga_version=end.saga_version, status=end.status)
                newest[envelope.saga_id] = end
        if newest:
            tx.end_checkouts(list(newest.values()))
        return handled


def _contradiction(checkout: KnownCheckout, end: CheckoutEnd, event: Payload) -> str:
    """Return what the event contradicts, "" if nothing."""
    if checkout.status in TERMINAL and checkout.status != end.status:
        return f"the checkout ended as {checkout.status}"
    if isinstance(event, CheckoutCompleted):
        accepted, paid = (checkout.total_minor, checkout.currency), (event.total_minor, event.currency)
        if paid != accepted:
            return f"{paid[0]} {paid[1]} was paid, {accepted[0]} {accepted[1]} was accepted"
    return ""


def _end(envelope: Envelope) -> CheckoutEnd:
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
