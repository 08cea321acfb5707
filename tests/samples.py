"""One good payload of every message type, and names to use with them."""

from uuid import UUID

from holdfast.contracts.messages import (
    CartCleared,
    CheckoutCompleted,
    CheckoutFailed,
    CheckoutInitiated,
    ClearCart,
    CreateOrder,
    EmptyPayload,
    InventoryReserved,
    Line,
    OrderCreated,
    OutcomeRequested,
    Payload,
    PaymentProcessed,
    ProcessPayment,
    Refused,
    ReserveInventory,
)
from holdfast.contracts.topics import PAYLOADS

SAGA = str(UUID(int=0x0198_0000_0000_7000_8000_0000_0000_0001))
NOT_AFTER_MS = 1_900_000_000_000
LINES = (Line("85123A", 6, 255), Line("71053", 6, 339))
TOTAL_MINOR = 3564

SAMPLES: dict[str, Payload] = {
    "CheckoutInitiated": CheckoutInitiated(
        user_id="ada",
        cart_id="cart-1",
        cart_version=3,
        payment_method="pm_card_visa",
        currency="GBP",
        total_minor=TOTAL_MINOR,
        lines=LINES,
        not_after_ms=NOT_AFTER_MS,
    ),
    "ReserveInventory": ReserveInventory(LINES, NOT_AFTER_MS),
    "InventoryReserved": InventoryReserved(12),
    "ProcessPayment": ProcessPayment("ada", "pm_card_visa", TOTAL_MINOR, "GBP", NOT_AFTER_MS),
    "PaymentProcessed": PaymentProcessed("pi_1", TOTAL_MINOR, "GBP"),
    "CreateOrder": CreateOrder("ada", "GBP", TOTAL_MINOR, LINES, NOT_AFTER_MS),
    "OrderCreated": OrderCreated("order-1", TOTAL_MINOR, "GBP"),
    "ClearCart": ClearCart("ada", "cart-1", 3, LINES),
    "CartCleared": CartCleared(4, 3),
    "OutcomeRequested": OutcomeRequested("inventory"),
    "CheckoutCompleted": CheckoutCompleted("order-1", TOTAL_MINOR, "GBP", 4, 5),
    "CheckoutFailed": CheckoutFailed("out_of_stock", 2),
}
SAMPLES |= {
    kind: Refused("no", "because") if struct is Refused else EmptyPayload()
    for kind, struct in PAYLOADS.items()
    if struct in (Refused, EmptyPayload)
}


def saga_id(n: int) -> str:
    """Return the n-th saga id; greater numbers sort later."""
    return str(UUID(int=0x0198_0000_0000_7000_8000_0000_0000_0000 + n))
