"""order-create's table in memory, with the same behaviour as `store`."""

from collections.abc import Collection, Mapping

from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.services.order_create.domain import Order


class MemoryOrderTransaction(MemoryTransaction):
    """Implements `handlers.OrderTransaction`, where each method is described."""

    def insert_orders(self, rows: Collection[Order]) -> None:
        orders = self.table("orders")
        for row in rows:
            if row.saga_id in orders:
                raise ValueError(f"{row.saga_id} already has an order")
            orders[row.saga_id] = row

    def update_order_statuses(self, statuses: Mapping[str, str]) -> None:
        orders = self.table("orders")
        for saga_id, status in statuses.items():
            orders[saga_id] = orders[saga_id]._replace(status=status)
