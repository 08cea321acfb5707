"""One script for each way that a checkout can go, and the kinds of messages that it must make happen.

The scripts know no wiring: memory, PostgreSQL and Kafka run the same.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tests.platforms.delivery_faults import DeliveryFault
from tests.platforms.one_process import STOCK, Buying, OneProcess

from holdfast.contracts.messages import EmptyPayload
from holdfast.contracts.topics import ORCHESTRATOR
from holdfast.messaging.envelope import seal
from holdfast.sagas.checkout import CHECKOUT
from holdfast.simulation.provider import VISA

FORWARD = (
    "CheckoutInitiated",
    "ReserveInventory",
    "InventoryReserved",
    "ProcessPayment",
    "PaymentProcessed",
    "CreateOrder",
    "OrderCreated",
    "ClearCart",
    "CartCleared",
    "ConfirmInventory",
    "ConfirmPayment",
    "ConfirmOrder",
    "CheckoutCompleted",
)
UNDO_INVENTORY = ("CompensateInventory", "InventoryCompensated")
UNDO_PAYMENT = ("CompensatePayment", "PaymentCompensated")
UNDO_ORDER = ("CompensateOrder", "OrderCompensated")


class Scenario(NamedTuple):
    """`cancel_at`: the shopper cancels once this command was sent; `early`: this undo comes before its do;
    `silent`: no message of this kind arrives in time; `unheard`: the first of this kind is lost, so that
    a participant has to ask."""

    name: str
    state: str
    kinds: tuple[str, ...]
    reason: str = ""
    pieces: tuple[tuple[str, int], ...] = (("A", 2), ("B", 1))
    card: str = VISA
    held: bool = False
    cancel_at: str = ""
    early: str = ""
    silent: str = ""
    unheard: str = ""

    @property
    def kinds_to_strike(self) -> tuple[str, ...]:
        """All kinds that happen, except those that the scenario itself makes fail."""
        return tuple(kind for kind in self.kinds if kind not in (self.silent, self.unheard, self.early))


ALL_UNDOS = (UNDO_INVENTORY, UNDO_PAYMENT, UNDO_ORDER)
UNDONE = "undone_before_done"


def _failing(
    name: str, asked: int, undone: tuple[tuple[str, str], ...], reason: str, **script: str
) -> Scenario:
    """Return a scenario with the first `asked` messages of the way forward, then these undos."""
    kinds = (*FORWARD[:asked], *(kind for pair in undone for kind in pair), "CheckoutFailed")
    return Scenario(name, "FAILED", kinds, reason, **script)  # type: ignore[arg-type]


SCENARIOS = (
    Scenario("completed", "COMPLETED", FORWARD),
    Scenario("asked", "COMPLETED", (*FORWARD, "OutcomeRequested"), unheard="ConfirmOrder"),
    Scenario(
        "out_of_stock",
        "FAILED",
        (*FORWARD[:2], "InventoryReservationFailed", "CheckoutFailed"),
        reason="out_of_stock",
        pieces=(("A", 1), ("C", STOCK["C"] + 1)),
    ),
    Scenario(
        "declined",
        "FAILED",
        (*FORWARD[:4], "PaymentFailed", *UNDO_INVENTORY, "CheckoutFailed"),
        reason="payment_declined",
        card="pm_card_chargeDeclined",
    ),
    Scenario(
        "order_rule",
        "FAILED",
        (*FORWARD[:6], "OrderCreationFailed", *UNDO_INVENTORY, *UNDO_PAYMENT, "CheckoutFailed"),
        reason="order_total_above_limit",
        pieces=(("C", 1),),
    ),
    Scenario(
        "cart_hold",
        "FAILED",
        (
            *FORWARD[:8],
            "CartClearanceFailed",
            *UNDO_INVENTORY,
            *UNDO_PAYMENT,
            *UNDO_ORDER,
            "CheckoutFailed",
        ),
        reason="cart_on_hold",
        held=True,
    ),
    _failing("cancelled_at_inventory", 2, (UNDO_INVENTORY,), "cancelled", cancel_at="ReserveInventory"),
    _failing(
        "cancelled_at_payment", 4, (UNDO_INVENTORY, UNDO_PAYMENT), "cancelled", cancel_at="ProcessPayment"
    ),
    _failing("cancelled_at_order", 6, ALL_UNDOS, "cancelled", cancel_at="CreateOrder"),
    _failing("deadline_at_inventory", 2, (UNDO_INVENTORY,), "deadline", silent="ReserveInventory"),
    _failing("deadline_at_payment", 4, (UNDO_INVENTORY, UNDO_PAYMENT), "deadline", silent="ProcessPayment"),
    _failing("deadline_at_order", 6, ALL_UNDOS, "deadline", silent="CreateOrder"),
    _failing("undone_before_inventory", 2, (UNDO_INVENTORY,), UNDONE, early="CompensateInventory"),
    _failing("undone_before_payment", 4, (UNDO_INVENTORY, UNDO_PAYMENT), UNDONE, early="CompensatePayment"),
    _failing("undone_before_order", 6, ALL_UNDOS, UNDONE, early="CompensateOrder"),
)


def begin(platform: OneProcess, scenario: Scenario) -> Buying:
    """Start one checkout of this scenario."""
    buying = platform.buy(scenario.pieces, scenario.card, held=scenario.held)
    bus, saga_id = platform.wiring.bus, buying.saga_id
    if scenario.silent:
        bus.strike(saga_id, scenario.silent, DeliveryFault.HELD, float("inf"))
    if scenario.unheard:
        bus.strike(saga_id, scenario.unheard, DeliveryFault.LOST)
    if scenario.early:
        step = next(step for step in CHECKOUT.steps if step.undo == scenario.early)
        bus.precede(
            step.do,
            seal(f"{saga_id}:{step.name}:undo", scenario.early, saga_id, EmptyPayload(), ORCHESTRATOR),
        )
    if scenario.cancel_at:
        cancelled: list[str] = []
        platform.watchers.append(lambda: _cancel_once(platform, saga_id, scenario.cancel_at, cancelled))
    return buying


def _cancel_once(platform: OneProcess, saga_id: str, cancel_at: str, cancelled: list[str]) -> None:
    if not cancelled and platform.wiring.bus.sent[saga_id, cancel_at]:
        cancelled.append(saga_id)
        platform.cancel(saga_id)


def check(platform: OneProcess, scenario: Scenario, buying: Buying) -> None:
    """Fail unless the checkout ended as it must, and every kind that it must make happen was sent."""
    saga = platform.saga(buying.saga_id)
    assert saga is not None
    assert (saga.state, saga.reason) == (scenario.state, scenario.reason), scenario.name
    sent = platform.wiring.bus.sent
    assert [kind for kind in scenario.kinds if not sent[buying.saga_id, kind]] == [], scenario.name


def play(
    platform: OneProcess, scenario: Scenario, faults: Mapping[str, DeliveryFault] | None = None
) -> Buying:
    """Let one checkout go its way to its end, until the books balance; one message of each kind in `faults`
    meets that fault."""
    buying = begin(platform, scenario)
    for kind, fault in (faults or {}).items():
        platform.wiring.bus.strike(buying.saga_id, kind, fault)
    platform.settle()
    check(platform, scenario, buying)
    return buying
