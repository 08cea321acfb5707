"""All six services in one process and one thread, each put together by its own `build`, on any wiring.

Single-threaded, so that a scenario can act between any two steps; time is the wiring's.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from tests.platforms.delivery_faults import FaultyBus

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import Refused
from holdfast.contracts.topics import CART, GATEWAY, INVENTORY, ORCHESTRATOR, ORDER, PAYMENT, all_topics
from holdfast.messaging.components import Components, Ports
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.fence import Fence
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.store import Store
from holdfast.messaging.timers import TimerSettings
from holdfast.saga.state import CANCELLATION_REQUESTED, SagaInstance
from holdfast.services.cart_crud import main as cart_crud
from holdfast.services.cart_crud.cart_edits import Price
from holdfast.services.cart_crud.cart_service import CartService
from holdfast.services.cart_crud.domain import Cart
from holdfast.services.checkout_orchestrator import main as checkout_orchestrator
from holdfast.services.checkout_orchestrator.store_port import HistoryRow
from holdfast.services.gateway_bff import main as gateway_bff
from holdfast.services.gateway_bff.domain import Accepted, Checkout, CheckoutRequest
from holdfast.services.inventory_write import main as inventory_write
from holdfast.services.order_create import main as order_create
from holdfast.services.payment_gateway import main as payment_gateway
from holdfast.services.payment_gateway.charging import PaymentProvider
from holdfast.simulation.setup import ORDER_TOTAL_MAX_MINOR, PRICES_MINOR

USER = "ada"
STOCK = {"A": 1_000_000, "B": 1_000_000, "C": 1_000}
STEPS = {INVENTORY: "inventory", PAYMENT: "payment", ORDER: "order", CART: "cart"}
OPEN = ("RUNNING", "DONE", "UNDOING")


@dataclass
class Wiring:
    """What stands behind the ports. `rest` lets time pass when nothing moves; `order` reads an order's row.

    `books` names what is broken or unfinished in everything that the wiring holds.
    """

    name: str
    stores: Mapping[str, Store[Any]]
    bus: FaultyBus
    provider: PaymentProvider
    monotonic_ms: Callable[[], int]
    rest: Callable[[], None]
    order: Callable[[str], Any]
    books: Callable[["OneProcess"], list[str]]
    timers: TimerSettings
    ask_every_ms: int
    resend_after_ms: int
    limit_ms: int
    poll_s: float = 0.0
    partitions: int = 2
    dsns: Mapping[str, str] = field(default_factory=dict)


class Buying(NamedTuple):
    """A checkout under way: its saga and its cart."""

    saga_id: str
    cart_id: str


@dataclass
class OneProcess:
    """Steps every service in turn; `watchers` run after every step, for scripts that act in between."""

    wiring: Wiring
    parts: dict[str, Components[Any]] = field(default_factory=dict)
    bought: list[Buying] = field(default_factory=list)
    watchers: list[Callable[[], None]] = field(default_factory=list)
    under_way: list[Buying] = field(default_factory=list)

    def __post_init__(self) -> None:
        w = self.wiring
        w.bus.create_topics(all_topics(), w.partitions)
        draws = count(1)
        self.parts = {
            GATEWAY: gateway_bff.build(
                self._ports(GATEWAY), lambda: _80_bits(next(draws)), w.resend_after_ms
            ),
            ORCHESTRATOR: checkout_orchestrator.build(self._ports(ORCHESTRATOR), w.timers),
            INVENTORY: inventory_write.build(self._ports(INVENTORY), w.ask_every_ms),
            PAYMENT: payment_gateway.build(self._ports(PAYMENT), w.provider, w.ask_every_ms),
            ORDER: order_create.build(self._ports(ORDER), ORDER_TOTAL_MAX_MINOR, w.ask_every_ms),
            CART: cart_crud.build(self._ports(CART)),
        }
        with w.stores[INVENTORY].transaction() as tx:
            tx.set_initial_stock(list(STOCK.items()))
        with w.stores[CART].transaction() as tx:
            tx.save_prices([Price(sku, minor, "GBP") for sku, minor in PRICES_MINOR.items()])

    def _ports(self, service: str) -> Ports[Any]:
        w = self.wiring
        return Ports(w.stores[service], w.bus.of(service), w.monotonic_ms, f"{service}-1", w.partitions)

    def close(self) -> None:
        for parts in self.parts.values():
            parts.manager.close()
            parts.relay.producer.close()
        for store in self.wiring.stores.values():
            store.close()
        self.wiring.bus.close()

    # -- what shoppers do

    def buy(self, pieces: tuple[tuple[str, int], ...], card: str, *, held: bool = False) -> Buying:
        """Fill a cart of its own and start its checkout."""
        cart_id = f"cart-{len(self.bought) + 1}"
        stores = self.wiring.stores
        with stores[CART].transaction() as tx:
            tx.insert_carts([Cart(cart_id, USER, 1, pieces)])
            if held:
                tx.hold_cart((cart_id, USER), "fraud check")
        snapshot = CartService(stores[CART]).snapshots([(cart_id, USER)])[0]
        request = CheckoutRequest(USER, f"key-{cart_id}", b"", cart_id, card, snapshot)
        (answer,) = self.parts[GATEWAY].starter.accept([request])  # type: ignore[attr-defined]
        assert isinstance(answer, Accepted), answer
        self.bought.append(Buying(answer.checkout.saga_id, cart_id))
        self.under_way.append(self.bought[-1])
        return self.bought[-1]

    def cancel(self, saga_id: str) -> None:
        """Have the orchestrator's writer cancel the checkout, at its next step."""
        orchestrator = self.parts[ORCHESTRATOR]
        refusal = Refused("cancelled", "by the shopper")
        envelope = Envelope(
            f"{saga_id}:cancel", CANCELLATION_REQUESTED, saga_id, refusal, encode(refusal), 1, None
        )
        service = orchestrator.checkout_service  # type: ignore[attr-defined]

        def cancel(tx: Any) -> tuple[HandlerResult, None]:
            return service.handle(tx, [envelope]), None

        orchestrator.manager.submit(cancel)

    # -- time

    def round(self, silent: Collection[str] = ()) -> int:
        """Let every service except those in `silent` do one step; return how much was done."""
        moved = 0
        for parts in [parts for name, parts in self.parts.items() if name not in silent]:
            moved += parts.manager.run_once(self.wiring.poll_s)
            if isinstance(parts, payment_gateway.PaymentComponents):
                moved += parts.charge_loop.run_once()
            moved += parts.relay.run_once(0)
            for watch in self.watchers:
                watch()
        return moved

    def until(
        self, condition: Callable[[], bool], what: Callable[[], str], silent: Collection[str] = ()
    ) -> None:
        """Go round until `condition` holds; fail with `what` once the wiring's limit has passed."""
        end_ms = self.wiring.monotonic_ms() + self.wiring.limit_ms
        while not condition():
            assert self.wiring.monotonic_ms() < end_ms, what()
            if not self.round(silent):
                self.wiring.rest()

    def settle(self) -> None:
        """Go round until every checkout has ended, nothing is open anywhere, and the books balance."""
        found = ["nothing was looked at"]

        def settled() -> bool:
            if self.round():
                return False
            while self.under_way and not self.open_steps(self.under_way[-1].saga_id):
                self.under_way.pop()
            found[:] = [] if self.under_way else self.wiring.books(self)
            return not self.under_way and not found

        self.until(settled, lambda: f"{self.under_way[-1:]} {found}")

    # -- what is to be seen

    def saga(self, saga_id: str) -> SagaInstance | None:
        with self.wiring.stores[ORCHESTRATOR].transaction() as tx:
            saga: SagaInstance | None = tx.read_saga(saga_id)
        return saga

    def history(self, saga_id: str) -> list[HistoryRow]:
        with self.wiring.stores[ORCHESTRATOR].transaction() as tx:
            rows: list[HistoryRow] = tx.read_history(saga_id)
        return rows

    def checkout(self, saga_id: str) -> Checkout:
        with self.wiring.stores[GATEWAY].transaction() as tx:
            row: Checkout = tx.find_owned([(saga_id, USER)])[saga_id, USER]
        return row

    def fences(self, saga_id: str) -> dict[str, Fence | None]:
        """Return the saga's fence row at each participant, by step."""
        found: dict[str, Fence | None] = {}
        for service, step in STEPS.items():
            with self.wiring.stores[service].transaction() as tx:
                rows = tx.lock_fences(step, [saga_id])
                tx.save_fences(step, [], [] if rows else [saga_id])
            found[step] = rows.get(saga_id)
        return found

    def fence_states(self, saga_id: str) -> dict[str, str]:
        return {step: str(row.state) if row else "none" for step, row in self.fences(saga_id).items()}

    def open_steps(self, saga_id: str) -> list[str]:
        """Name what is not at its end: the gateway's row, or a step that waits for its undo or confirm."""
        steps = [s for s, state in self.fence_states(saga_id).items() if state in OPEN and s != "cart"]
        return steps if self.checkout(saga_id).is_terminal else ["gateway", *steps]

    def facts(self, buying: Buying) -> dict[str, Any]:
        """Return every business row of one checkout, and the stock."""
        saga_id, cart_id = buying
        stores = self.wiring.stores
        with stores[INVENTORY].transaction() as tx:
            stock, reserved = tx.list_stock("", 100), tx.load_reservations([saga_id])
        with stores[PAYMENT].transaction() as tx:
            payments = tx.load_payments([saga_id])
        with stores[CART].transaction() as tx:
            carts = tx.lock_carts([(cart_id, USER)])
        return {
            "saga": self.saga(saga_id),
            "history": self.history(saga_id),
            "fences": self.fences(saga_id),
            "checkout": self.checkout(saga_id),
            "stock": stock,
            "reserved": reserved,
            "payment": payments,
            "order": self.wiring.order(saga_id),
            "cart": carts,
        }


def _80_bits(number: int) -> int:
    """Return 80 bits that differ for every number and fall on all partitions."""
    return number * 0x9E3779B97F4A7C15F39C % 2**80
