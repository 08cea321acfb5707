"""payment-gateway's table in PostgreSQL; statements stand in `sql/`."""

from collections.abc import Collection, Sequence

from holdfast.messaging.database import PostgresTransaction, statements
from holdfast.messaging.store import TimerKey, TimerRow
from holdfast.services.payment_gateway.call_lanes import ClaimLimit
from holdfast.services.payment_gateway.domain import Payment
from holdfast.services.payment_gateway.handlers import UNKNOWN_AFTER_MS, OpenMoney, PaymentRow

SQL = statements("holdfast.services.payment_gateway")


class PostgresPaymentTransaction(PostgresTransaction):
    """Implements `handlers.PaymentTransaction`, where each method is described."""

    def insert_payments(self, rows: Collection[Payment]) -> None:
        self.write(
            SQL["insert_payments"],
            saga_ids=[row.saga_id for row in rows],
            user_ids=[row.user_id for row in rows],
            payment_methods=[row.payment_method for row in rows],
            amounts=[row.amount_minor for row in rows],
            currencies=[row.currency for row in rows],
        )

    def load_payments(self, saga_ids: Collection[str]) -> dict[str, Payment]:
        rows = self.read(SQL["select_payments"], saga_ids=list(saga_ids))
        return {row[0]: Payment(*row) for row in rows}

    def update_payments(self, rows: Collection[Payment]) -> None:
        if rows:
            self.write(
                SQL["update_payments"],
                saga_ids=[row.saga_id for row in rows],
                charge_ids=[row.charge_id for row in rows],
                refund_ids=[row.refund_id for row in rows],
                decline_codes=[row.decline_code for row in rows],
                last_errors=[row.last_error[:200] for row in rows],
                same_errors=[row.same_error for row in rows],
            )

    def payment_page(self, from_id: str, limit: int, which: str = "") -> list[PaymentRow]:
        statement = SQL["select_open_payments" if which else "select_payment_page"]
        values = {"which": which, "unknown_after_ms": UNKNOWN_AFTER_MS} if which else {}
        rows = self.read(statement, from_id=from_id, limit=limit, **values)
        return [PaymentRow(Payment(*row[:10]), *row[10:]) for row in rows]

    def open_money(self) -> list[OpenMoney]:
        rows = self.read(SQL["sum_open_payments"], unknown_after_ms=UNKNOWN_AFTER_MS)
        return [OpenMoney(*row) for row in rows]

    def hint_calls(self, saga_ids: Collection[str]) -> int:
        return self.change(SQL["hint_calls"], saga_ids=list(saga_ids))

    def peek_due_calls(self, limits: Sequence[ClaimLimit], horizon_ms: int) -> list[TimerRow]:
        rows = self.read(
            SQL["select_due_calls"],
            verbs=[each.verb for each in limits],
            fresh=[each.fresh for each in limits],
            limits=[each.calls_max for each in limits],
            newest_first=[each.newest_first for each in limits],
            horizon_ms=horizon_ms,
        )
        return [TimerRow(TimerKey(row[0], row[1], row[2]), *row[3:]) for row in rows]
