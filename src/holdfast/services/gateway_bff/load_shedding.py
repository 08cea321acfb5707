"""Refuses new checkouts under too much load, before any work is done for them.

Known keys, status reads and all work that ends sagas go on; accepted checkouts are kept.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.relay import Relay
from holdfast.services.gateway_bff.store_port import GatewayTransaction

COUNT_EVERY_MS = 1_000
RETRY_AFTER_S_MAX = 4


@dataclass(frozen=True)
class LoadLimits:
    """Limits at which new checkouts are refused: open ones, waiting time, the outbox's age and batches."""

    under_way_max: int = 10_000
    waited_s_max: float = 1.0
    outbox_age_ms_max: int = 10_000
    outbox_batches_max: int = 64


class LoadShedding:
    """Decides whether a new checkout is refused, and why. `counts` holds how many were, by reason."""

    def __init__(self, limits: LoadLimits, relay: Relay, outbox_age_ms: Callable[[], int]) -> None:
        self._limits = limits
        self._relay = relay
        self._outbox_age_ms = outbox_age_ms
        self.under_way = 0
        self.counts: Counter[str] = Counter()

    def reason(self, waited_s: float) -> str:
        """Return why a request that waited so long is refused, "" if it is not; count a refusal."""
        limits, waiting = self._limits, self._relay.waiting()
        if waited_s > limits.waited_s_max:
            return self._count("waited_too_long")
        if self.under_way >= limits.under_way_max:
            return self._count("too_many_under_way")
        if waiting >= limits.outbox_batches_max:
            return self._count("outbox_too_long")
        if waiting and self._outbox_age_ms() > limits.outbox_age_ms_max:
            return self._count("outbox_too_old")
        return ""

    def accepted(self, count: int) -> None:
        """Add newly started checkouts to the last count, until the database is asked again."""
        self.under_way += count

    def periodic_task(self) -> PeriodicTask[Any]:
        """Return the count of open checkouts in the database as a periodic task of the writer."""
        return PeriodicTask("under_way", COUNT_EVERY_MS, self._count_open)

    def _count_open(self, manager: "KafkaConsumerManager[Any]") -> None:
        def count(tx: GatewayTransaction) -> HandlerResult:
            self.under_way = tx.count_open(self._limits.under_way_max)
            return HandlerResult()

        manager.commit(count)

    def _count(self, reason: str) -> str:
        self.counts[reason] += 1
        return reason


def retry_after_s(key: str) -> int:
    """Return when the client may retry: spread by the key, so that refused clients do not return together."""
    return 1 + crc32(key.encode()) % RETRY_AFTER_S_MAX
