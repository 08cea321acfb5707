"""The participant's outcome requests: for a step that stays DONE, it asks how the saga ended.

The orchestrator answers with a confirm, an undo, or nothing while the saga is under way (line 12 of
docs/reference/protocol.md). So a step also ends if its confirm or undo never came.
"""

from collections.abc import Callable
from typing import Any

from holdfast.bus.partitioner import partition_of
from holdfast.contracts.codec import encode
from holdfast.contracts.messages import OutcomeRequested
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.handler import HandlerResult, OutboxMessage
from holdfast.messaging.ids import uuid7_after, uuid7_floor
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.store import Transaction

ASK_EVERY_MS = 600_000
LOOK_EVERY_MS = 2_000
ROWS_MAX = 500
KEYS_MAX = 20_000
LATE_MS = 3_600_000
PASSES_TO_A_FULL_ONE = 144


class OutcomePoller:
    """The writer's task at a participant: one pass over the DONE rows every `every_ms`, a page at a time.

    Keys are UUIDv7, so a pass reads a key range and needs no other index: from the oldest row that the last
    pass found DONE, at least `LATE_MS` back, to those `every_ms` old. A key tells when its saga was accepted,
    which may be long before the step was done, so one pass in `PASSES_TO_A_FULL_ONE` reads all keys.
    """

    def __init__(
        self, step: str, partitions: int, monotonic_ms: Callable[[], int], every_ms: int = ASK_EVERY_MS
    ) -> None:
        self._step = step
        self._partitions = partitions
        self._monotonic_ms = monotonic_ms
        self._every_ms = every_ms
        self._next_pass_ms = 0
        self._passes = 0
        self._cursor = ""
        self._oldest_held = ""

    def run_once(self, manager: "KafkaConsumerManager[Any]") -> None:
        """Ask for the outcomes of one page of DONE rows, if a pass is due or under way."""
        if not self._cursor and self._monotonic_ms() < self._next_pass_ms:
            return
        owned = manager.partitions()

        def ask(tx: Transaction) -> HandlerResult:
            return self._ask(tx, owned)

        manager.commit(ask)

    def periodic_task(self) -> PeriodicTask[Any]:
        """Return this as a periodic task of the writer."""
        return PeriodicTask("asking", min(LOOK_EVERY_MS, self._every_ms), self.run_once)

    def _ask(self, tx: Transaction, owned: frozenset[int]) -> HandlerResult:
        now_ms = tx.now_ms()
        before = uuid7_floor(now_ms - self._every_ms)
        if not self._cursor:
            self._cursor, self._oldest_held = self._begin(now_ms), ""
        held, looked_to = tx.held_fences(self._step, self._cursor, before, KEYS_MAX, ROWS_MAX)
        if held and not self._oldest_held:
            self._oldest_held = held[0]
        if looked_to:
            self._cursor = uuid7_after(looked_to)
        else:
            self._cursor = ""
            self._passes += 1
            self._next_pass_ms = self._monotonic_ms() + self._every_ms
        value = encode(OutcomeRequested(self._step))
        number = now_ms // self._every_ms
        return HandlerResult(
            messages_to_seal=[
                OutboxMessage(f"{saga_id}:{self._step}:ask:{number}", "OutcomeRequested", saga_id, value)
                for saga_id in held
                if partition_of(saga_id.encode(), self._partitions) in owned
            ]
        )

    def _begin(self, now_ms: int) -> str:
        """Return the key at which the next pass begins."""
        if self._passes % PASSES_TO_A_FULL_ONE == 0:
            return uuid7_floor(0)
        late = uuid7_floor(now_ms - self._every_ms - LATE_MS)
        return min(self._oldest_held or late, late)
