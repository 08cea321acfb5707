"""An order is PENDING when created, PLACED when confirmed, CANCELED when undone. Pure."""

from dataclasses import dataclass, field
from typing import NamedTuple

from holdfast.contracts.messages import CreateOrder, Line, OrderCreated, Refused


class Order(NamedTuple):
    """One order; fulfilment reads only PLACED orders."""

    order_id: str
    saga_id: str
    user_id: str
    currency: str
    total_minor: int
    status: str
    lines: tuple[Line, ...]


@dataclass
class OrderBatch:
    """The rows that a batch writes; an order above `total_max_minor` is refused."""

    total_max_minor: int
    created: dict[str, Order] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)

    def create(self, saga_id: str, command: CreateOrder) -> OrderCreated | Refused:
        """Create a PENDING order; refuse it if its total is too large or not the sum of its lines."""
        if command.total_minor > self.total_max_minor:
            return Refused(
                "order_total_above_limit",
                f"{command.total_minor} is above the limit of {self.total_max_minor} minor units",
            )
        if command.total_minor != sum(line.quantity * line.unit_price_minor for line in command.lines):
            return Refused("order_does_not_add_up", "the lines do not sum to the total")
        order_id = f"order-{saga_id}"
        order = Order(
            order_id,
            saga_id,
            command.user_id,
            command.currency,
            command.total_minor,
            "PENDING",
            command.lines,
        )
        self.created[saga_id] = order
        return OrderCreated(order_id, command.total_minor, command.currency)

    def settle(self, saga_id: str, status: str) -> None:
        """Set the final status of this saga's order, which may have been created in the same batch."""
        if saga_id in self.created:
            self.created[saga_id] = self.created[saga_id]._replace(status=status)
        else:
            self.changed[saga_id] = status
