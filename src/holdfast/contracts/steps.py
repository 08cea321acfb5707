"""One table of steps: each with its service, its messages, what it owes, why it may fail, what shoppers read.

Topics, payloads, readers and writers, participants, deadlines and sentences derive from its rows. What a saga
does with them stands in `sagas.checkout`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from holdfast.contracts.messages import (
    CartCleared,
    ClearCart,
    CreateOrder,
    InventoryReserved,
    OrderCreated,
    Payload,
    PaymentProcessed,
    ProcessPayment,
    ReserveInventory,
)

ORCHESTRATOR = "checkout-orchestrator"
GATEWAY = "gateway-bff"
INVENTORY = "inventory-write"
PAYMENT = "payment-gateway"
ORDER = "order-create"
CART = "cart-crud"

INVENTORY_COMMANDS = "checkout.inventory-command"
PAYMENT_COMMANDS = "checkout.payment-command"
ORDER_COMMANDS = "checkout.order-command"
CART_COMMANDS = "checkout.cart-command"


class Charged(StrEnum):
    """What is certain about the money of a checkout that failed for a reason."""

    NEVER = "never"
    REFUNDED = "refunded"  # what was charged, if anything, was given back


NEVER, REFUNDED = Charged


class FailureReason(NamedTuple):
    """Why a checkout fails: a code for programs, a sentence for the shopper (without its full stop).

    `detail_shown`: the shopper may read the detail too; others are private, such as an operator's words.
    """

    code: str
    sentence: str
    charged: Charged
    detail_shown: bool = False


class Liability(NamedTuple):
    """What a step owes until its undo is answered; operators read `words`, with `{amount}` or `{pieces}`."""

    words: str
    money: bool = False
    pieces: bool = False


class StateText(NamedTuple):
    """A state of the saga, and the sentence that a shopper reads in it."""

    state: str
    sentence: str


@dataclass(frozen=True)
class StepMessages:
    """The message types of one step; `undo`, `undone` and `confirm` are empty for the pivot."""

    step: str
    do: str
    done: str
    failed: str
    undo: str = ""
    undone: str = ""
    confirm: str = ""


@dataclass(frozen=True)
class StepRow:
    """One step. `do` and `done` are payloads, named as their messages are; undos and confirms have none.

    `patience_ms`: how long silence may last before it is believed; None: as long as for any step.
    `books`: the tables of its service that the audit reads.
    """

    name: str
    service: str
    topic: str
    pending: StateText
    finished: StateText
    do: type[Payload]
    done: type[Payload]
    failed: str
    undo: str = ""
    undone: str = ""
    confirm: str = ""
    owed: Liability | None = None
    reasons: tuple[FailureReason, ...] = ()
    keeps_result: bool = False
    patience_ms: int | None = None
    books: tuple[str, ...] = ()

    @property
    def at_rest(self) -> str:
        """The state of its fence row once its saga has completed."""
        return "CONFIRMED" if self.confirm else "DONE"

    @property
    def messages(self) -> StepMessages:
        """The names of its messages."""
        names = (self.do.__name__, self.done.__name__, self.failed, self.undo, self.undone, self.confirm)
        return StepMessages(self.name, *names)


INVENTORY_STEP = StepRow(
    name="inventory",
    service=INVENTORY,
    topic=INVENTORY_COMMANDS,
    pending=StateText("INVENTORY_RESERVATION_PENDING", "We are reserving your items."),
    finished=StateText("INVENTORY_RESERVED", "Your items are reserved."),
    do=ReserveInventory,
    done=InventoryReserved,
    failed="InventoryReservationFailed",
    undo="CompensateInventory",
    undone="InventoryCompensated",
    confirm="ConfirmInventory",
    owed=Liability("{pieces} pieces to release", pieces=True),
    reasons=(
        FailureReason("out_of_stock", "Something in your cart is out of stock", NEVER, detail_shown=True),
        FailureReason(
            "unknown_product", "Something in your cart is no longer sold", NEVER, detail_shown=True
        ),
    ),
    books=("stock", "stock_movement"),
)
PAYMENT_STEP = StepRow(
    name="payment",
    service=PAYMENT,
    topic=PAYMENT_COMMANDS,
    pending=StateText("PAYMENT_PROCESSING_PENDING", "Your payment is being processed."),
    finished=StateText("PAYMENT_PROCESSED", "Your payment was received."),
    do=ProcessPayment,
    done=PaymentProcessed,
    failed="PaymentFailed",
    undo="CompensatePayment",
    undone="PaymentCompensated",
    confirm="ConfirmPayment",
    owed=Liability("{amount} to refund", money=True),
    reasons=(FailureReason("payment_declined", "Your card was declined", NEVER, detail_shown=True),),
    patience_ms=300_000,
    books=("payment_fact",),
)
ORDER_STEP = StepRow(
    name="order",
    service=ORDER,
    topic=ORDER_COMMANDS,
    pending=StateText("ORDER_CREATION_PENDING", "Your payment was received and your order is being created."),
    finished=StateText("ORDER_CREATED", "Your order was created."),
    do=CreateOrder,
    done=OrderCreated,
    failed="OrderCreationFailed",
    undo="CompensateOrder",
    undone="OrderCompensated",
    confirm="ConfirmOrder",
    owed=Liability("an order to cancel"),
    reasons=(
        FailureReason(
            "order_total_above_limit", "The order is above what one order may be", REFUNDED, detail_shown=True
        ),
        FailureReason("order_does_not_add_up", "The order did not add up", REFUNDED),
    ),
    keeps_result=True,
    books=("orders",),
)
CART_STEP = StepRow(
    name="cart",
    service=CART,
    topic=CART_COMMANDS,
    pending=StateText("CART_CLEARANCE_PENDING", "Your order is being completed."),
    finished=StateText("COMPLETED", "Thank you: your order {order_id} is paid and placed."),
    do=ClearCart,
    done=CartCleared,
    failed="CartClearanceFailed",
    reasons=(FailureReason("cart_on_hold", "Your cart is on hold; please contact us", REFUNDED),),
    keeps_result=True,
    books=("clear_log",),
)

STEPS = (INVENTORY_STEP, PAYMENT_STEP, ORDER_STEP, CART_STEP)
"""Every step that a saga may have, in the order of the way forward."""

STATES = tuple(text for row in STEPS for text in (row.pending, row.finished))
"""The states of the way forward, each with its sentence."""

CANCELLED_BY_SHOPPER = "cancelled_by_shopper"
CANCELLED_BY_OPERATOR = "cancelled_by_operator"

COMMON_REASONS = (
    FailureReason("deadline", "Something on our side did not answer in time", REFUNDED),
    FailureReason("expired", "Your checkout took too long", REFUNDED),
    FailureReason("undone_before_done", "Your checkout could not be completed", REFUNDED),
    FailureReason(CANCELLED_BY_SHOPPER, "You cancelled this checkout", REFUNDED),
    FailureReason(CANCELLED_BY_OPERATOR, "We had to cancel this checkout", REFUNDED),
)
"""Reasons that belong to no one step."""

FAILURE_REASONS = {
    reason.code: reason for reason in (*COMMON_REASONS, *(r for row in STEPS for r in row.reasons))
}
"""Code to the row of the reason."""

PARTICIPANTS = tuple(row.service for row in STEPS)
SAGA_SERVICES = (GATEWAY, ORCHESTRATOR, *PARTICIPANTS)
"""All services, as a checkout meets them."""
SERVICES = (CART, *(name for name in PARTICIPANTS if name != CART), ORCHESTRATOR, GATEWAY)
"""All services in starting order: the gateway needs the snapshots of cart-crud, and comes last."""

PATIENCE_OF_STEP_MS = {row.name: row.patience_ms for row in STEPS if row.patience_ms is not None}


def owed_by_steps(names: Collection[str]) -> list[Liability]:
    """Return what these steps owe, last step first, as they are undone."""
    return [row.owed for row in reversed(STEPS) if row.owed and row.name in names]
