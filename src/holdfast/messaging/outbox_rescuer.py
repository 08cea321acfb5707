"""The outbox's safety net: the holder of a lease publishes stale rows that a dead instance left."""

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
    """The writer's task that reads back outbox rows that no relay seems to publish.

    Rows of a slow but living instance may be published twice: that is harmless, a lost message is not.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self.age_ms = 0
        """The age of the oldest row, without the rows that have undelivered messages."""
        self.oldest_age_ms = 0

    def run_once(self, manager: "KafkaConsumerManager[Any]") -> None:
        """Hand stale rows to the relay, if this instance holds the lease."""
        stale: list[tuple[int, list[Message]]] = []
        undelivered = manager.relay.undelivered_rows()

        def read_stale(tx: Transaction) -> HandlerResult:
            stale.clear()
            self.age_ms = tx.outbox_age_ms(undelivered)
            self.oldest_age_ms = tx.outbox_age_ms() if undelivered else self.age_ms
            if self.age_ms >= STALE_AFTER_MS and tx.take_lease("relay", self._instance, LEASE_MS):
                stale.extend(tx.stale_outbox(STALE_AFTER_MS, ROWS_MAX, undelivered))
            return HandlerResult()

        manager.commit(read_stale)
        manager.relay.submit_rows(stale)

    def periodic_task(self) -> PeriodicTask[Any]:
        """Return this as a periodic task of the writer."""
        return PeriodicTask("stale_rows", LOOK_EVERY_MS, self.run_once)
