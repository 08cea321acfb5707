"""order-create's table in PostgreSQL; statements stand in `sql/`."""

from collections.abc import Collection, Mapping

from holdfast.messaging.database import PostgresTransaction, statements
from holdfast.services.order_create.domain import Order

SQL = statements("holdfast.services.order_create")


class PostgresOrderTransaction(PostgresTransaction):
    """Implements `handlers.OrderTransaction`, where each method is described."""

    def insert_orders(self, rows: Collection[Order]) -> None:
        """Send all lines as flat arrays; the statement makes one row of each order."""
        lines = [(n, line) for n, row in enumerate(rows) for line in row.lines]
        self.write(
            SQL["insert_orders"],
            order_ids=[row.order_id for row in rows],
            saga_ids=[row.saga_id for row in rows],
            user_ids=[row.user_id for row in rows],
            currencies=[row.currency for row in rows],
            totals=[row.total_minor for row in rows],
            statuses=[row.status for row in rows],
            numbers=[n for n, _ in lines],
            skus=[line.sku for _, line in lines],
            quantities=[line.quantity for _, line in lines],
            prices=[line.unit_price_minor for _, line in lines],
        )

    def update_order_statuses(self, statuses: Mapping[str, str]) -> None:
        self.write(SQL["update_order_statuses"], saga_ids=list(statuses), statuses=list(statuses.values()))
