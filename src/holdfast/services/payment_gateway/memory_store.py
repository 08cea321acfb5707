"""payment-gateway's table in memory, with the same behaviour as `store`."""

import sys
from collections.abc import Collection, Sequence

from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.store import TimerKey, TimerRow
from holdfast.messaging.timers import RESOLVE
from holdfast.services.payment_gateway.call_lanes import ClaimLimit
from holdfast.services.payment_gateway.domain import Payment
from holdfast.services.payment_gateway.handlers import OpenMoney, PaymentRow


class MemoryPaymentTransaction(MemoryTransaction):
    """Implements `handlers.PaymentTransaction`, where each method is described."""

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

    def payment_page(self, from_id: str, limit: int, which: str = "") -> list[PaymentRow]:
        now_ms = self.now_ms()
        rows = [self._row(p) for _, p in sorted(self.table("payment").items()) if p.saga_id >= from_id]
        pages = {
            "": rows,
            "unknown": [row for row in rows if row.is_unknown(now_ms)],
            "owed": [row for row in rows if row.is_owed()],
        }
        return pages[which][:limit]

    def open_money(self) -> list[OpenMoney]:
        sums: dict[tuple[str, str], OpenMoney] = {}
        for which in ("owed", "unknown"):
            for row in self.payment_page("", sys.maxsize, which):
                payment = row.payment
                key = which, payment.currency
                old = sums.get(key) or OpenMoney(which, payment.currency, 0, 0, row.since_ms)
                sum_minor, since_ms = old.amount_minor + payment.amount_minor, min(old.since_ms, row.since_ms)
                sums[key] = OpenMoney(which, payment.currency, old.payments + 1, sum_minor, since_ms)
        return [sums[key] for key in sorted(sums)]

    def hint_calls(self, saga_ids: Collection[str]) -> int:
        now_ms, timers = self.now_ms(), self.table("timers")
        hinted = [
            row
            for row in timers.values()
            if row.key.saga_id in saga_ids
            and row.kind == RESOLVE
            and row.due_ms > now_ms
            and row.end_offset <= now_ms
        ]
        for row in hinted:
            timers[row.key] = row._replace(due_ms=now_ms)
        return len(hinted)

    def _row(self, payment: Payment) -> PaymentRow:
        fence = self.table("fence").get((payment.saga_id, "payment"))
        row = PaymentRow(payment, "PRUNED")
        if fence is not None:
            row = PaymentRow(payment, fence.state.value, fence.submitted, fence.undo_requested)
        for verb in ("do", "undo"):
            timer = self.table("timers").get(TimerKey(payment.saga_id, "payment", verb))
            if timer is not None:
                return row._replace(
                    verb=verb,
                    since_ms=timer.since_ms,
                    due_ms=timer.due_ms,
                    attempts=timer.fired,
                    under_way_until_ms=timer.end_offset,
                )
        return row

    def peek_due_calls(self, limits: Sequence[ClaimLimit], horizon_ms: int) -> list[TimerRow]:
        now = self.now_ms()
        due = [
            row
            for row in self.table("timers").values()
            if row.kind == RESOLVE and (row.due_ms <= now or row.due_ms > now + horizon_ms)
        ]
        found: list[TimerRow] = []
        for verb, fresh, calls_max, newest_first in limits:
            lane = [row for row in due if row.key.verb == verb and (row.fired == 0) == fresh]
            lane.sort(key=lambda row: row.key)
            lane.sort(key=lambda row: row.due_ms, reverse=newest_first)
            lane.sort(key=lambda row: row.fired)
            found += lane[:calls_max]
        return found
