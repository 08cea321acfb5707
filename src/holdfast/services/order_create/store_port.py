"""What order-create needs from its database: orders."""

from collections.abc import Collection, Mapping
from typing import Protocol

from holdfast.messaging.store import Transaction
from holdfast.services.order_create.domain import Order


class OrderTransaction(Transaction, Protocol):
    """The kernel's transaction and order-create's own table."""

    def insert_orders(self, rows: Collection[Order]) -> None:
        """Write new orders; a second one of the same saga is an error."""

    def update_order_statuses(self, statuses: Mapping[str, str]) -> None:
        """Set the status of orders, by saga."""
