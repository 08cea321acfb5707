"""The re-send of CheckoutInitiated until the end was seen: after a minute, then ever more slowly.

A checkout's event is sent again when its age crosses 1, 2, 4, 8 ... minutes; keys are UUIDv7, so that an age
is a key range and needs no other index (protocol: asking).
"""

from typing import Any

from holdfast.bus.partitioner import partition_of
from holdfast.messaging.consumer import Chore, KafkaConsumerManager
from holdfast.messaging.handler import Handled, Reply
from holdfast.messaging.ids import uuid7_floor
from holdfast.services.gateway_bff.store_port import GatewayTransaction, OpenCheckout

FIRST_AFTER_MS = 60_000
DOUBLINGS = 15
LOOK_EVERY_MS = 5_000
ROWS_MAX = 500


class Resending:
    """The writer's chore at the gateway, for the partitions that it owns.

    The first look of a process takes everything that is open and older than `first_after_ms`, page by page.
    """

    def __init__(self, partitions: int, first_after_ms: int = FIRST_AFTER_MS) -> None:
        self._partitions = partitions
        self._first_after_ms = first_after_ms
        self._looked_ms = 0
        self._cursor = uuid7_floor(0)
        self._caught_up = False

    def run(self, manager: "KafkaConsumerManager[Any]") -> None:
        """Send again what has reached one of its ages since the last look."""
        owned = manager.partitions()
        manager.commit(lambda tx: self._look(tx, owned))

    def chore(self) -> Chore[Any]:
        """Return this as a chore of the writer."""
        return Chore("resending", LOOK_EVERY_MS, self.run)

    def _look(self, tx: GatewayTransaction, owned: frozenset[int]) -> Handled:
        now_ms = tx.now_ms()
        found = self._of_age(tx, now_ms) if self._caught_up else self._backlog(tx, now_ms)
        self._looked_ms = now_ms
        return Handled(
            replies=[
                self._again(row, now_ms)
                for row in found
                if partition_of(row.saga_id.encode(), self._partitions) in owned
            ]
        )

    def _backlog(self, tx: GatewayTransaction, now_ms: int) -> list[OpenCheckout]:
        before = uuid7_floor(now_ms - self._first_after_ms)
        rows = tx.open_checkouts(self._cursor, before, ROWS_MAX)
        self._caught_up = len(rows) < ROWS_MAX
        if rows:
            self._cursor = uuid7_floor(rows[-1].created_ms + 1)
        return rows

    def _of_age(self, tx: GatewayTransaction, now_ms: int) -> list[OpenCheckout]:
        found: list[OpenCheckout] = []
        for doubling in range(DOUBLINGS):
            age_ms = self._first_after_ms << doubling
            from_id, before_id = uuid7_floor(self._looked_ms - age_ms), uuid7_floor(now_ms - age_ms)
            found += tx.open_checkouts(from_id, before_id, ROWS_MAX)
        return found

    def _again(self, row: OpenCheckout, now_ms: int) -> Reply:
        age_ms = max(1, now_ms - row.created_ms)
        attempt = 2 + max(0, (age_ms // self._first_after_ms).bit_length() - 1)
        return Reply(
            f"{row.saga_id}:initiated", "CheckoutInitiated", row.saga_id, row.initiated, attempt=attempt
        )
