"""The re-send of CheckoutInitiated until the end was seen: after a minute, then ever more slowly.

A checkout's event is sent again when its age crosses 1, 2, 4, 8 ... minutes; keys are UUIDv7, so that an age
is a key range and needs no other index (protocol: asking).
"""

from typing import Any

from holdfast.bus.partitioner import partition_of
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.handler import HandlerResult, OutboxMessage
from holdfast.messaging.ids import uuid7_after, uuid7_floor
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.services.gateway_bff.store_port import GatewayTransaction, OpenCheckout

FIRST_AFTER_MS = 60_000
DOUBLINGS = 15
LOOK_EVERY_MS = 5_000
ROWS_MAX = 500


class CheckoutResender:
    """The writer's chore at the gateway, for the partitions that it owns.

    Each of the ages has a cursor, which moves at most `ROWS_MAX` checkouts a look. The first age's begins at
    the oldest: a process that has just started sends everything again that is open and old enough.
    """

    def __init__(self, partitions: int, first_after_ms: int = FIRST_AFTER_MS) -> None:
        self._partitions = partitions
        self._first_after_ms = first_after_ms
        self._cursors: list[str] = []

    def run_once(self, manager: "KafkaConsumerManager[Any]") -> None:
        """Send again what has reached one of its ages since the last look."""
        owned = manager.partitions()
        cursors: list[str] = []

        def look(tx: GatewayTransaction) -> HandlerResult:
            cursors.clear()
            return self._look(tx, owned, cursors)

        manager.commit(look)
        self._cursors = cursors

    def periodic_task(self) -> PeriodicTask[Any]:
        """Return this as a chore of the writer."""
        return PeriodicTask("resending", min(LOOK_EVERY_MS, self._first_after_ms), self.run_once)

    def _look(self, tx: GatewayTransaction, owned: frozenset[int], cursors: list[str]) -> HandlerResult:
        """Read on from each cursor, and say in `cursors` where the next look begins."""
        now_ms = tx.now_ms()
        befores = [uuid7_floor(now_ms - (self._first_after_ms << n)) for n in range(DOUBLINGS)]
        found: list[OpenCheckout] = []
        for from_id, before_id in zip(self._cursors or [uuid7_floor(0), *befores[1:]], befores, strict=True):
            rows = tx.open_checkouts(from_id, before_id, ROWS_MAX)
            found += rows
            # Not the later of the two: a clock that jumped ahead and back would leave out what lies between.
            cursors.append(uuid7_after(rows[-1].saga_id) if len(rows) == ROWS_MAX else before_id)
        return HandlerResult(
            messages_to_seal=[
                self._again(row, now_ms)
                for row in found
                if partition_of(row.saga_id.encode(), self._partitions) in owned
            ]
        )

    def _again(self, row: OpenCheckout, now_ms: int) -> OutboxMessage:
        attempt = 1 + max(1, ((now_ms - row.created_ms) // self._first_after_ms).bit_length())
        return OutboxMessage(
            f"{row.saga_id}:initiated", "CheckoutInitiated", row.saga_id, row.initiated, attempt=attempt
        )
