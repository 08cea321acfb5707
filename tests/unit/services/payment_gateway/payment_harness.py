"""payment-gateway on memory: commands in, a scripted provider, a virtual clock."""

from collections.abc import Callable, Sequence
from typing import Any

from tests.origin import record_as_written
from tests.samples import SAMPLES, saga_id

from holdfast.bus.memory import MemoryBus
from holdfast.contracts.topics import ORCHESTRATOR, PARTITIONS_EMBEDDED, PAYMENT, all_topics
from holdfast.messaging.components import Ports
from holdfast.messaging.envelope import seal
from holdfast.messaging.fence import Fence
from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.store import TimerRow
from holdfast.services.payment_gateway.charging import LEASE_MS
from holdfast.services.payment_gateway.domain import Payment, ProviderCall, ProviderResult, Unknown
from holdfast.services.payment_gateway.main import build
from holdfast.services.payment_gateway.memory_store import MemoryPaymentTransaction

SAGA = saga_id(1)
START_MS = 1_800_000_000_000


class ScriptedProvider:
    """Answers with the next of `answers` (at the end: a time-out) and notes every call."""

    def __init__(self) -> None:
        self.answers: list[ProviderResult] = []
        self.calls: list[ProviderCall] = []
        self.during: Callable[[], None] = lambda: None

    def call(self, calls: Sequence[ProviderCall]) -> list[ProviderResult]:
        self.calls += calls
        during, self.during = self.during, lambda: None
        during()
        return [self.answers.pop(0) if self.answers else Unknown("timeout") for _ in calls]

    def close(self) -> None:
        """Do nothing."""


class PaymentHarness:
    """One payment-gateway; `command` hands it one command as one batch."""

    def __init__(self, claim_lease_ms: int = LEASE_MS) -> None:
        self.now_ms = START_MS
        bus = MemoryBus(lambda: self.now_ms / 1000)
        bus.create_topics(all_topics(), PARTITIONS_EMBEDDED)
        self.store = MemoryStore(MemoryPaymentTransaction, lambda: self.now_ms)
        self.provider = ScriptedProvider()
        ports: Ports[Any] = Ports(self.store, bus.of(PAYMENT), lambda: self.now_ms, "me", PARTITIONS_EMBEDDED)
        self.parts = build(ports, self.provider, claim_lease_ms=claim_lease_ms)
        self.loop = self.parts.charge_loop
        self._offset = 0

    def command(self, *verbs: str, saga: str = SAGA) -> list[str]:
        """Hand over `do`, `undo` and `confirm` commands in one batch; return the types of the answers."""
        kinds = {"do": "ProcessPayment", "undo": "CompensatePayment", "confirm": "ConfirmPayment"}
        records = []
        for verb in verbs:
            message = seal(f"{saga}:payment:{verb}", kinds[verb], saga, SAMPLES[kinds[verb]], ORCHESTRATOR)
            self._offset += 1
            records.append(record_as_written(message, self._offset))
        committed = self.parts.processor.run(records)
        return [dict(message.headers)["ce_type"].decode() for message in committed.messages]

    def charge(self, *answers: ProviderResult) -> list[str]:
        """Run the charge loop once; return the types of the events it appended."""
        self.provider.answers = list(answers)
        before = set(self.rows("outbox"))
        self.loop.run_once()
        new = [batch for row_id, (_, batch) in self.rows("outbox").items() if row_id not in before]
        return [dict(message.headers)["ce_type"].decode() for batch in new for message in batch]

    def advance_to_next_call(self) -> int:
        """Let time pass until the next timer is due; return how long that took."""
        due = min(row.due_ms for row in self.timers())
        waited = max(0, due - self.now_ms)
        self.now_ms += waited
        return waited

    def rows(self, table: str) -> dict[Any, Any]:
        return self.store.tables.tables.get(table, {})

    def timers(self) -> list[TimerRow]:
        return list(self.rows("timers").values())

    def fence(self, saga: str = SAGA) -> Fence:
        fence: Fence = self.rows("fence")[saga, "payment"]
        return fence

    def payment(self, saga: str = SAGA) -> Payment:
        payment: Payment = self.rows("payment")[saga]
        return payment
