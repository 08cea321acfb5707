"""Sends CheckoutInitiated again until the checkout's end is known: after a minute, then ever more slowly.

An event is sent again when its checkout's age crosses 1, 2, 4, 8 ... minutes. Keys are UUIDv7, so that an age
is a key range and needs no other index (line 12 of docs/reference/protocol.md).
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
RESEND_EVERY_MS = 5_000
ROWS_MAX = 500


class CheckoutResender:
    """The gateway's periodic task for the partitions that its writer owns.

    Each age has a cursor, which moves by at most `ROWS_MAX` checkouts a run. The first age's cursor begins at
    the oldest checkout: a process that has just started sends again all that are open and old enough.
    """

    def __init__(self, partitions: int, first_after_ms: int = FIRST_AFTER_MS) -> None:
        self._partitions = partitions
        self._first_after_ms = first_after_ms
        self._cursors: list[str] = []

    def run_once(self, manager: "KafkaConsumerManager[Any]") -> None:
        """Send again the events of checkouts that have reached one of the ages since the last run."""
        owned = manager.partitions()
        cursors: list[str] = []

        def resend_due(tx: GatewayTransaction) -> HandlerResult:
            cursors.clear()
            return self._resend_due(tx, owned, cursors)

        manager.commit(resend_due)
        self._cursors = cursors

    def periodic_task(self) -> PeriodicTask[Any]:
        """Return this as a periodic task of the writer."""
        return PeriodicTask("resending", min(RESEND_EVERY_MS, self._first_after_ms), self.run_once)

    def _resend_due(self, tx: GatewayTransaction, owned: frozenset[int], cursors: list[str]) -> HandlerResult:
        """Read on from each cursor, and append to `cursors` where the next run begins."""
        now_ms = tx.now_ms()
        bounds = [uuid7_floor(now_ms - (self._first_after_ms << n)) for n in range(DOUBLINGS)]
        found: list[OpenCheckout] = []
        for from_id, before_id in zip(self._cursors or [uuid7_floor(0), *bounds[1:]], bounds, strict=True):
            rows = tx.open_checkouts(from_id, before_id, ROWS_MAX)
            found += rows
            # Not the later of the two: if the clock jumped ahead and back, the rows between would be skipped.
            cursors.append(uuid7_after(rows[-1].saga_id) if len(rows) == ROWS_MAX else before_id)
        return HandlerResult(
            messages_to_seal=[
                self._message(row, now_ms)
                for row in found
                if partition_of(row.saga_id.encode(), self._partitions) in owned
            ]
        )

    def _message(self, row: OpenCheckout, now_ms: int) -> OutboxMessage:
        attempt = 1 + max(1, ((now_ms - row.created_ms) // self._first_after_ms).bit_length())
        return OutboxMessage(
            f"{row.saga_id}:initiated", "CheckoutInitiated", row.saga_id, row.initiated, attempt=attempt
        )
