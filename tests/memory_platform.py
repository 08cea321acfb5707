"""The whole platform in one process: real services on memory stores, a memory bus and a virtual clock.

The seed of the simulator's world. The gateway is played by the test, which publishes CheckoutInitiated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.bus.memory import MemoryBus
from holdfast.contracts.codec import encode
from holdfast.contracts.messages import CheckoutInitiated, Line
from holdfast.contracts.steps import PATIENCE_OF_STEP_MS
from holdfast.contracts.topics import (
    CART,
    GATEWAY,
    INVENTORY,
    ORCHESTRATOR,
    ORDER,
    PARTITIONS_EMBEDDED,
    PAYMENT,
    all_topics,
)
from holdfast.messaging.components import Components, Ports
from holdfast.messaging.envelope import seal
from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.timers import TimerSettings
from holdfast.services.cart_crud import main as cart_crud
from holdfast.services.cart_crud.domain import Cart
from holdfast.services.cart_crud.memory_store import MemoryCartTransaction
from holdfast.services.checkout_orchestrator import main as checkout_orchestrator
from holdfast.services.checkout_orchestrator.memory_store import MemorySagaTransaction
from holdfast.services.inventory_write import main as inventory_write
from holdfast.services.inventory_write.memory_store import MemoryInventoryTransaction
from holdfast.services.order_create import main as order_create
from holdfast.services.order_create.memory_store import MemoryOrderTransaction
from holdfast.services.payment_gateway import main as payment_gateway
from holdfast.services.payment_gateway.domain import (
    Declined,
    ProviderCall,
    ProviderRequest,
    ProviderResult,
    Succeeded,
)
from holdfast.services.payment_gateway.memory_store import MemoryPaymentTransaction

ORDER_TOTAL_MAX = 1_000_000


@dataclass
class FakeProvider:
    """Money in memory, idempotent by key; `pm_card_visa` succeeds, everything else is declined."""

    charges: dict[str, int] = field(default_factory=dict)
    refunds: dict[str, int] = field(default_factory=dict)

    def call(self, calls: Sequence[ProviderCall]) -> list[ProviderResult]:
        return [self._one(call) for call in calls]

    def _one(self, call: ProviderCall) -> ProviderResult:
        if call.ask is ProviderRequest.REFUND:
            self.refunds[call.payment.saga_id] = call.payment.amount_minor
            return Succeeded(f"re_{call.payment.saga_id}")
        if call.payment.payment_method != "pm_card_visa":
            return Declined("generic_decline", "no")
        self.charges[call.payment.saga_id] = call.payment.amount_minor
        return Succeeded(f"ch_{call.payment.saga_id}")

    def close(self) -> None:
        pass


class MemoryPlatform:
    """Steps every service in turn until nothing moves."""

    def __init__(self, stock: dict[str, int]) -> None:
        self.now_ms = 1_800_000_000_000
        self.bus = MemoryBus(lambda: self.now_ms / 1000)
        self.bus.create_topics(all_topics(), PARTITIONS_EMBEDDED)
        self.provider = FakeProvider()
        self.sagas = self._store(MemorySagaTransaction)
        self.inventory = self._store(MemoryInventoryTransaction)
        self.payments = self._store(MemoryPaymentTransaction)
        self.orders = self._store(MemoryOrderTransaction)
        self.carts = self._store(MemoryCartTransaction)
        self.orchestrator = checkout_orchestrator.build(
            self._ports(ORCHESTRATOR, self.sagas), TimerSettings(patience_of_step_ms=PATIENCE_OF_STEP_MS)
        )
        self.payment = payment_gateway.build(self._ports(PAYMENT, self.payments), self.provider)
        self.parts: list[Components[Any]] = [
            self.orchestrator,
            self.payment,
            inventory_write.build(self._ports(INVENTORY, self.inventory)),
            order_create.build(self._ports(ORDER, self.orders), ORDER_TOTAL_MAX),
            cart_crud.build(self._ports(CART, self.carts)),
        ]
        with self.inventory.transaction() as tx:
            tx.set_initial_stock(list(stock.items()))

    def _store(self, transaction_type: type[Any]) -> MemoryStore[Any]:
        return MemoryStore(transaction_type, lambda: self.now_ms)

    def _ports(self, service: str, store: MemoryStore[Any]) -> Ports[Any]:
        return Ports(store, self.bus.of(service), lambda: self.now_ms, "test", PARTITIONS_EMBEDDED)

    def put_cart(self, cart_id: str, pieces: Sequence[tuple[str, int]], held: str = "") -> None:
        with self.carts.transaction() as tx:
            tx.save_carts([Cart(cart_id, "ada", 1, tuple(pieces), held)])

    def initiate(
        self, saga_id: str, pieces: Sequence[tuple[str, int]], *, price: int = 100, card: str = "pm_card_visa"
    ) -> CheckoutInitiated:
        lines = tuple(Line(sku, count, price) for sku, count in pieces)
        total = sum(line.quantity * line.unit_price_minor for line in lines)
        payload = CheckoutInitiated(
            user_id="ada",
            cart_id=f"cart-{saga_id}",
            cart_version=1,
            payment_method=card,
            currency="GBP",
            total_minor=total,
            lines=lines,
            not_after_ms=self.now_ms + 7 * 86_400_000,
        )
        message = seal(f"{saga_id}:initiated", "CheckoutInitiated", saga_id, payload, "gateway-bff")
        assert encode(payload) == message.value
        self.bus.of(GATEWAY).publisher().publish([message])
        return payload

    def round(self) -> int:
        """Let every service do one step; return how much was done."""
        moved = 0
        for parts in self.parts:
            moved += parts.manager.run_once(0)
            moved += parts.relay.run_once(0)
        return moved + self.payment.charge_loop.run_once()

    def settle(self, rounds_max: int = 100) -> None:
        """Run until a whole round moves nothing."""
        self.round()
        for _ in range(rounds_max):
            if not self.round():
                return
        raise AssertionError(f"still moving after {rounds_max} rounds")

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self.now_ms += ms

    def state(self, saga_id: str) -> str:
        with self.sagas.transaction() as tx:
            saga = tx.read_saga(saga_id)
        return saga.state if saga else "NONE"

    def history(self, saga_id: str) -> list[str]:
        with self.sagas.transaction() as tx:
            return [state for row in tx.read_history(saga_id) for state in row.path]

    def stock(self, sku: str) -> tuple[int, int, int]:
        row = self.inventory.tables.tables["stock"][sku]
        return row.on_hand, row.reserved, row.sold
