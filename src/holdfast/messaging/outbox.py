"""The outbox's safety net: rows that a dead instance left lying are published by the lease's holder."""

from typing import Any

from holdfast.bus.port import Message
from holdfast.messaging.consumer import Chore, KafkaConsumerManager
from holdfast.messaging.handler import Handled
from holdfast.messaging.store import Transaction

LYING_AFTER_MS = 5_000
LOOK_EVERY_MS = 3_000
LEASE_MS = 10_000
ROWS_MAX = 200


class LyingRows:
    """The writer's chore that reads back what nobody seems to be publishing.

    A living but slow instance's rows may be published twice: repeats are harmless, holes are not.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self.age_ms = 0
        """The age of the oldest row but for those that the bus does not take."""
        self.oldest_age_ms = 0

    def run(self, manager: "KafkaConsumerManager[Any]") -> None:
        """Hand lying rows to the relay, if this instance holds the lease."""
        lying: list[tuple[int, list[Message]]] = []
        undelivered = manager.relay.undelivered_rows()

        def look(tx: Transaction) -> Handled:
            lying.clear()
            self.age_ms = tx.outbox_age_ms(undelivered)
            self.oldest_age_ms = tx.outbox_age_ms() if undelivered else self.age_ms
            if self.age_ms >= LYING_AFTER_MS and tx.take_lease("relay", self._instance, LEASE_MS):
                lying.extend(tx.lying_outbox(LYING_AFTER_MS, ROWS_MAX, undelivered))
            return Handled()

        manager.commit(look)
        manager.relay.submit_rows(lying)

    def chore(self) -> Chore[Any]:
        """Return this as a chore of the writer."""
        return Chore("lying_rows", LOOK_EVERY_MS, self.run)
