"""The writer's task that finds out whether the database takes writes, also if there is nothing to write."""

from typing import Any

import structlog

from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.store import StoreUnavailable

PROBE_EVERY_MS = 3_000

log = structlog.get_logger(__name__)


class WriteProbe:
    """Asks every PROBE_EVERY_MS and stops no message; `failures` counts the refusals in a row."""

    def __init__(self) -> None:
        self.failures = 0

    def run_once(self, manager: KafkaConsumerManager[Any]) -> None:
        """Ask once; log the first no and the first yes after it."""
        try:
            manager.processor.probe_writes()
        except StoreUnavailable as error:
            if not self.failures:
                log.warning("writes_fail", error=str(error))
            self.failures += 1
            return
        if self.failures:
            log.info("writes_succeed_again")
        self.failures = 0

    def periodic_task(self) -> PeriodicTask[Any]:
        """Return this as a periodic task of the writer."""
        return PeriodicTask("write_probe", PROBE_EVERY_MS, self.run_once)
