"""Example payloads of the definitions' events, by message type, for the simulator's search.

A type that is not named here gets an empty payload; a refusal gets a reason of its own.
"""

from collections.abc import Mapping

from holdfast.contracts.messages import CartCleared, CheckoutInitiated, Line, OrderCreated, Payload
from holdfast.sagas.return_order import PaymentRefunded, ReturnRequested

LINES = (Line("A", 1, 700),)

EXAMPLES: Mapping[str, Payload] = {
    "CheckoutInitiated": CheckoutInitiated("ada", "cart-1", 1, "pm_card_visa", "GBP", 700, LINES, 2**42),
    "OrderCreated": OrderCreated("order-1", 700, "GBP"),
    "CartCleared": CartCleared(2, 1),
    "ReturnRequested": ReturnRequested("order-1", "charge-1", 700, "GBP", LINES),
    "PaymentRefunded": PaymentRefunded("refund-1"),
}
