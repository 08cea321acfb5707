"""The outbox's safety net: rows that a dead instance left lying are published by the lease's holder."""

from typing import Any

from holdfast.bus.port import Message
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.store import Transaction

STALE_AFTER_MS = 5_000
LOOK_EVERY_MS = 3_000
LEASE_MS = 10_000
ROWS_MAX = 200


class OutboxRescuer:
    """The writer's chore that reads back what nobody seems to be publishing.

    A living but slow instance's rows may be published twice: repeats are harmless, holes are not.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self.age_ms = 0
        """The age of the oldest row but for those that the bus does not take."""
        self.oldest_age_ms = 0

    def run_once(self, manager: "KafkaConsumerManager[Any]") -> None:
        """Hand lying rows to the relay, if this instance holds the lease."""
        lying: list[tuple[int, list[Message]]] = []
        undelivered = manager.relay.undelivered_rows()

        def look(tx: Transaction) -> HandlerResult:
            lying.clear()
            self.age_ms = tx.outbox_age_ms(undelivered)
            self.oldest_age_ms = tx.outbox_age_ms() if undelivered else self.age_ms
            if self.age_ms >= STALE_AFTER_MS and tx.take_lease("relay", self._instance, LEASE_MS):
                lying.extend(tx.stale_outbox(STALE_AFTER_MS, ROWS_MAX, undelivered))
            return HandlerResult()

        manager.commit(look)
        manager.relay.submit_rows(lying)

    def periodic_task(self) -> PeriodicTask[Any]:
        """Return this as a chore of the writer."""
        return PeriodicTask("lying_rows", LOOK_EVERY_MS, self.run_once)
