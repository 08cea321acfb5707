"""payment-gateway's table in memory: the twin of `store`."""

from collections.abc import Collection

from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.store import TimerRow
from holdfast.messaging.timers import RESOLVE
from holdfast.services.payment_gateway.domain import Payment


class MemoryPaymentTransaction(MemoryTransaction):
    """See `handlers.PaymentTransaction` for every promise."""

    def insert_payments(self, rows: Collection[Payment]) -> None:
        payments = self.table("payment")
        for row in rows:
            if row.saga_id in payments:
                raise ValueError(f"{row.saga_id} already has a payment")
            payments[row.saga_id] = row

    def load_payments(self, saga_ids: Collection[str]) -> dict[str, Payment]:
        payments = self.table("payment")
        return {saga_id: payments[saga_id] for saga_id in saga_ids if saga_id in payments}

    def update_payments(self, rows: Collection[Payment]) -> None:
        for row in rows:
            self.table("payment")[row.saga_id] = row

    def peek_due_calls(self, limit: int, horizon_ms: int) -> list[TimerRow]:
        now = self.now_ms()
        due = [
            row
            for row in self.table("timers").values()
            if row.kind == RESOLVE and (row.due_ms <= now or row.due_ms > now + horizon_ms)
        ]
        return sorted(due, key=lambda row: (row.due_ms, row.key))[:limit]
