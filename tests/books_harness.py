"""A platform's books written by hand: its databases, its bus, and the provider's ledger.

No service runs: the harness writes what services would have written, and `run` what they never would.
Histories come from the engine itself, so that they stay right when the checkout's definition changes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from tests.databases import BUS, Databases
from tests.samples import saga_id as nth_saga_id

from holdfast.audit import PostgresSource, Sources
from holdfast.contracts.codec import encode
from holdfast.contracts.messages import (
    CartCleared,
    CheckoutInitiated,
    EmptyPayload,
    InventoryReserved,
    Line,
    OrderCreated,
    Payload,
    PaymentProcessed,
    Refused,
)
from holdfast.contracts.topics import (
    CART,
    GATEWAY,
    INVENTORY,
    ORCHESTRATOR,
    ORDER,
    PAYMENT,
)
from holdfast.payment_provider import operations
from holdfast.payment_provider.cards import CARDS
from holdfast.payment_provider.ledger import Ledger
from holdfast.payment_provider.operations import ChargeParams, RefundParams
from holdfast.saga.machine import decide
from holdfast.saga.state import CANCELLATION_REQUESTED, Event, SagaInstance
from holdfast.sagas.checkout import CHECKOUT

USER = "ada"
LINES = (Line("85123A", 6, 255), Line("71053", 6, 339))
INITIAL = 100
"""Pieces of every code that a line names, at the beginning."""
NOW_MS = 1_800_000_000_000


class WrittenCheckout(NamedTuple):
    """A checkout that was written."""

    saga_id: str
    start: CheckoutInitiated

    @property
    def pieces(self) -> list[tuple[str, int]]:
        """The pieces by code, in the order in which services keep them."""
        return sorted((line.sku, line.quantity) for line in self.start.lines)


class BooksHarness(Databases):
    """The books of one platform; empty at first."""

    def __init__(self, dsns: Mapping[str, str], ledger_path: Path) -> None:
        super().__init__(dsns)
        self.ledger_path = ledger_path
        self.ledger = Ledger(ledger_path)
        self._count = 0

    @property
    def sources(self) -> Sources:
        return Sources(
            gateway=self.dsns[GATEWAY],
            orchestrator=self.dsns[ORCHESTRATOR],
            inventory=self.dsns[INVENTORY],
            payment=self.dsns[PAYMENT],
            order=self.dsns[ORDER],
            cart=self.dsns[CART],
            bus=PostgresSource(self.dsns[BUS]),
            ledger=self.ledger_path,
        )

    def close(self) -> None:
        super().close()
        self.ledger.close()

    # -- whole checkouts, one for every end

    def completed(self, lines: Sequence[Line] = LINES) -> str:
        """A paid order, its cart cleared and everything confirmed."""
        checkout = self._accept(lines)
        self._reserve(checkout, "CONFIRMED")
        self._move(checkout, "sell")
        self._pay(checkout, "CONFIRMED")
        self._order(checkout, "PLACED", "CONFIRMED")
        self._clear(checkout)
        self._history(checkout, _started(checkout), RESERVED, _paid(checkout), _ordered(checkout), CLEARED)
        return checkout.saga_id

    def failed_at_inventory(self, lines: Sequence[Line] = LINES) -> str:
        """Out of stock: nothing was done anywhere."""
        checkout = self._accept(lines)
        self._fence(INVENTORY, checkout, "inventory", "REFUSED")
        self._history(checkout, _started(checkout), ("InventoryReservationFailed", Refused("out_of_stock")))
        return checkout.saga_id

    def failed_at_payment(self, lines: Sequence[Line] = LINES) -> str:
        """A declined card: the reservation was released."""
        checkout = self._accept(lines, card="pm_card_chargeDeclined")
        self._reserve(checkout, "UNDONE")
        self._move(checkout, "release")
        self._pay(checkout, "REFUSED")
        self._history(
            checkout, _started(checkout), RESERVED, ("PaymentFailed", Refused("payment_declined")), RELEASED
        )
        return checkout.saga_id

    def failed_at_order(self, lines: Sequence[Line] = LINES, refund_key: str | None = None) -> str:
        """An order that was refused: refunded (under a key of ours, if none is given) and released."""
        checkout = self._accept(lines)
        self._reserve(checkout, "UNDONE")
        self._move(checkout, "release")
        self._pay(checkout, "UNDONE")
        self._refund(checkout, refund_key)
        self._fence(ORDER, checkout, "order", "REFUSED")
        refused = ("OrderCreationFailed", Refused("order_total_above_limit"))
        self._history(checkout, _started(checkout), RESERVED, _paid(checkout), refused, REFUNDED, RELEASED)
        return checkout.saga_id

    def failed_at_cart(self, lines: Sequence[Line] = LINES) -> str:
        """A cart on hold: order canceled, refunded, released."""
        checkout = self._accept(lines)
        self._reserve(checkout, "UNDONE")
        self._move(checkout, "release")
        self._pay(checkout, "UNDONE")
        self._refund(checkout)
        self._order(checkout, "CANCELED", "UNDONE")
        self._fence(CART, checkout, "cart", "REFUSED")
        refused = ("CartClearanceFailed", Refused("cart_on_hold"))
        done = (_started(checkout), RESERVED, _paid(checkout), _ordered(checkout))
        self._history(checkout, *done, refused, CANCELED, REFUNDED, RELEASED)
        return checkout.saga_id

    def cancelled_before_start(self) -> str:
        """Cancelled before the orchestrator had heard of it: a saga without data, and nothing anywhere."""
        checkout = self._accept(LINES)
        self._history(checkout, (CANCELLATION_REQUESTED, Refused("cancelled")))
        return checkout.saga_id

    def under_way(self, lines: Sequence[Line] = LINES) -> str:
        """Charged, and waiting for its order: nothing is confirmed, nothing is undone."""
        checkout = self._accept(lines)
        self._reserve(checkout, "DONE")
        self._pay(checkout, "DONE")
        self._history(checkout, _started(checkout), RESERVED, _paid(checkout))
        return checkout.saga_id

    # -- anything else

    def rewrite_snapshot(self, saga_id: str, old: str, new: str) -> None:
        """Replace a piece of text in a saga's data."""
        text = "replace(convert_from(payload, 'UTF8'), %s, %s)"
        statement = (
            f"update saga_event set payload = convert_to({text}, 'UTF8') where saga_id = %s and seq = 1"
        )
        self.run(ORCHESTRATOR, statement, old, new, saga_id)

    def charge(
        self,
        saga_id: str,
        amount: int,
        *,
        key: str | None = None,
        currency: str = "gbp",
        card: str = "pm_card_visa",
    ) -> str:
        """Have the provider charge a card (key None: the saga's own); return its id for the intent."""
        metadata = {"saga_id": saga_id} if saga_id else {}
        ask = ChargeParams(amount, currency, card, CARDS[card], metadata, None)
        body = self._ask_provider(operations.charge, ask, key or f"{saga_id}:payment:do")
        intent = body["error"]["payment_intent"] if "error" in body else body
        return str(intent["id"])

    def refund(self, saga_id: str, *, amount: int | None = None, key: str | None = None) -> str:
        """Have the provider refund a saga's charge (amount None: all of it); return its id for the refund."""
        intent = self.ledger.intents_of(saga_id)[0]
        ask = RefundParams(intent["latest_charge"], amount, {"saga_id": saga_id}, None)
        return str(self._ask_provider(operations.refund, ask, key or f"{saga_id}:payment:undo")["id"])

    def _ask_provider(self, operation: Any, ask: Any, key: str) -> Any:
        self.ledger.begin()
        answered = operation(self.ledger, ask, key)
        self.ledger.commit()
        return msgspec.json.decode(answered.body)

    # -- what each service would have written

    def _accept(self, lines: Sequence[Line], card: str = "pm_card_visa") -> WrittenCheckout:
        self._count += 1
        start = CheckoutInitiated(
            user_id=USER,
            cart_id=f"cart-{self._count}",
            cart_version=1,
            payment_method=card,
            currency="GBP",
            total_minor=sum(line.quantity * line.unit_price_minor for line in lines),
            lines=tuple(lines),
            not_after_ms=1_900_000_000_000,
        )
        for line in lines:
            statement = "insert into stock (sku, initial, on_hand) values (%s, %s, %s) on conflict do nothing"
            self.run(INVENTORY, statement, line.sku, INITIAL, INITIAL)
        return WrittenCheckout(nth_saga_id(self._count), start)

    def _reserve(self, checkout: WrittenCheckout, fence: str) -> None:
        self._fence(INVENTORY, checkout, "inventory", fence)
        self._move(checkout, "reserve")

    def _move(self, checkout: WrittenCheckout, direction: str) -> None:
        change = {
            "reserve": "on_hand = on_hand - %s, reserved = reserved + %s",
            "release": "on_hand = on_hand + %s, reserved = reserved - %s",
            "sell": "sold = sold + %s, reserved = reserved - %s",
        }[direction]
        for sku, pieces in checkout.pieces:
            self.run(INVENTORY, f"update stock set {change} where sku = %s", pieces, pieces, sku)
        self.insert(
            INVENTORY,
            "stock_movement",
            saga_id=checkout.saga_id,
            direction=direction,
            skus=[sku for sku, _ in checkout.pieces],
            quantities=[pieces for _, pieces in checkout.pieces],
        )

    def _pay(self, checkout: WrittenCheckout, fence: str) -> None:
        start = checkout.start
        intent = self.charge(checkout.saga_id, start.total_minor, card=start.payment_method)
        charged = fence != "REFUSED"
        self.insert(
            PAYMENT,
            "payment",
            saga_id=checkout.saga_id,
            user_id=start.user_id,
            payment_method=start.payment_method,
            amount_minor=start.total_minor,
            currency=start.currency,
            charge_id=intent if charged else "",
            decline_code="" if charged else "generic_decline",
        )
        self._fence(PAYMENT, checkout, "payment", fence)

    def _refund(self, checkout: WrittenCheckout, key: str | None = None) -> None:
        refund = self.refund(checkout.saga_id, key=key)
        self.run(PAYMENT, "update payment set refund_id = %s where saga_id = %s", refund, checkout.saga_id)

    def _order(self, checkout: WrittenCheckout, status: str, fence: str) -> None:
        start = checkout.start
        self.insert(
            ORDER,
            "orders",
            saga_id=checkout.saga_id,
            order_id=f"order-{checkout.saga_id}",
            user_id=start.user_id,
            currency=start.currency,
            total_minor=start.total_minor,
            status=status,
            skus=[line.sku for line in start.lines],
            quantities=[line.quantity for line in start.lines],
            prices_minor=[line.unit_price_minor for line in start.lines],
        )
        self._fence(ORDER, checkout, "order", fence)

    def _clear(self, checkout: WrittenCheckout) -> None:
        """Clear a cart into which two more pieces of everything were put meanwhile."""
        self.insert(
            CART,
            "clear_log",
            saga_id=checkout.saga_id,
            cart_id=checkout.start.cart_id,
            user_id=checkout.start.user_id,
            version_left=3,
            skus=[sku for sku, _ in checkout.pieces],
            quantities_before=[pieces + 2 for _, pieces in checkout.pieces],
            quantities_removed=[pieces for _, pieces in checkout.pieces],
        )
        self._fence(CART, checkout, "cart", "DONE")

    def _fence(self, service: str, checkout: WrittenCheckout, step: str, state: str) -> None:
        self.insert(service, "fence", saga_id=checkout.saga_id, step=step, state=state)

    def _history(self, checkout: WrittenCheckout, *events: "Happened") -> None:
        """Let the engine decide on these events; write what orchestrator and gateway would keep of them."""
        saga: SagaInstance | None = None
        for kind, payload in events:
            event = Event(checkout.saga_id, f"{checkout.saga_id}:{kind}", kind, payload, encode(payload))
            decision = decide(CHECKOUT, saga, event, NOW_MS)
            assert decision.saga is not None, f"{kind} changes nothing: {decision}"
            saga = decision.saga
            self.insert(
                ORCHESTRATOR,
                "saga_event",
                saga_id=saga.saga_id,
                seq=saga.version,
                event_id=event.event_id,
                kind=kind,
                payload=event.raw,
                path=",".join(decision.path),
                at_ms=NOW_MS,
            )
        assert saga is not None, "a history has at least one event"
        self._save(saga)
        self._tell_gateway(checkout, saga)

    def _save(self, saga: SagaInstance) -> None:
        self.insert(
            ORCHESTRATOR,
            "saga",
            saga_id=saga.saga_id,
            definition=saga.definition,
            definition_version=saga.definition_version,
            state=saga.state,
            version=saga.version,
            failed=",".join(saga.failed),
            owed=",".join(saga.owed),
            results=msgspec.msgpack.encode(saga.results),
            reason=saga.reason,
            detail=saga.detail,
            started_ms=saga.started_ms,
            ended_ms=saga.ended_ms,
        )

    def _tell_gateway(self, checkout: WrittenCheckout, saga: SagaInstance) -> None:
        start, ended = checkout.start, saga.state in CHECKOUT.terminal
        self.insert(
            GATEWAY,
            "checkout",
            saga_id=saga.saga_id,
            user_id=start.user_id,
            idem_key=f"key-{saga.saga_id}",
            fingerprint=b"fingerprint",
            cart_id=start.cart_id,
            cart_version=start.cart_version,
            total_minor=start.total_minor,
            currency=start.currency,
            created_ms=NOW_MS,
            last_status=saga.state if ended else CHECKOUT.initial,
            saga_version=saga.version if ended else 0,
            initiated=encode(start),
        )


Happened = tuple[str, Payload]
"""An event of a saga: its type and payload."""

RESERVED: Happened = ("InventoryReserved", InventoryReserved(1))
RELEASED: Happened = ("InventoryCompensated", EmptyPayload())
REFUNDED: Happened = ("PaymentCompensated", EmptyPayload())
CANCELED: Happened = ("OrderCompensated", EmptyPayload())
CLEARED: Happened = ("CartCleared", CartCleared(3, 1))


def _started(checkout: WrittenCheckout) -> Happened:
    return "CheckoutInitiated", checkout.start


def _paid(checkout: WrittenCheckout) -> Happened:
    start = checkout.start
    return "PaymentProcessed", PaymentProcessed("pi_1", start.total_minor, start.currency)


def _ordered(checkout: WrittenCheckout) -> Happened:
    return "OrderCreated", OrderCreated(
        f"order-{checkout.saga_id}", checkout.start.total_minor, checkout.start.currency
    )
