"""The writer's task that processes the parked rows that operators redrive, without sending them again.

Only the service that writes a message may publish it, so its reader cannot publish it again.
"""

from collections.abc import Sequence
from typing import Any

import structlog

from holdfast.messaging.batch_processor import Committed
from holdfast.messaging.consumer import KILLS, STATEMENT_FAILED, KafkaConsumerManager
from holdfast.messaging.parked import LogPosition
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.poison import ONE_BY_ONE_FROM, PARKED_FROM
from holdfast.messaging.store import StatementFailed, StoreUnavailable

NAME = "redriver"
LOOK_EVERY_MS = 5_000
ROWS_MAX = 10
"""A record may have 1 MB, and one transaction holds all of a batch."""
BATCHES_MAX = 20
"""After so many batches the writer polls the bus again; the rest is due at once."""

log = structlog.get_logger(__name__)


class Redriver:
    """Gives redriven rows to the batch processor like the records that they were, and keeps their results.

    Two instances never process one row at a time. A row's result is written in the transaction that processes
    it, so after a crash it is processed again. A batch that fails is halved until one row is alone, which is
    parked again; a row that kills the process is found by counting starts, as on the bus.
    """

    def __init__(self) -> None:
        self._first_batch_survived = False

    def run_once(self, manager: KafkaConsumerManager[Any]) -> None:
        """Process redriven rows by their log positions. Raises StoreUnavailable; the writer tries again."""
        for _ in range(BATCHES_MAX):
            positions = self._positions(manager)
            if not positions:
                return
            starts = 0 if self._first_batch_survived else self._count_start(manager)
            if starts >= PARKED_FROM:
                detail = f"{starts - 1} processes began with this message and ended"
                self._settle(manager, manager.processor.park_again(positions[0], KILLS, detail))
            else:
                self._process(manager, positions[:1] if starts >= ONE_BY_ONE_FROM else positions)
            if not self._first_batch_survived:
                self._forget_starts(manager)
        manager.hurry(NAME)

    def periodic_task(self) -> PeriodicTask[Any]:
        """Return this as a task of the writer; a redrive on this instance makes it due at once."""
        return PeriodicTask(NAME, LOOK_EVERY_MS, self.run_once)

    def _process(self, manager: KafkaConsumerManager[Any], positions: Sequence[LogPosition]) -> None:
        todo = [list(positions)]
        while todo:
            batch = todo.pop()
            try:
                committed = manager.processor.run_redriven(batch)
            except Exception as error:
                refused = isinstance(error, StatementFailed)  # parking again what was parked loses nothing
                if isinstance(error, StoreUnavailable) and not refused:
                    raise
                if len(batch) > 1:
                    middle = len(batch) // 2
                    todo += [batch[middle:], batch[:middle]]
                    continue
                detail = str(error) if refused else f"{type(error).__name__}: {error}"
                place = str(batch[0])
                log.error("redriven_message_failed", place=place, detail=detail, exc_info=not refused)  # noqa: TRY400
                reason = STATEMENT_FAILED if refused else "handler_failed"
                committed = manager.processor.park_again(batch[0], reason, detail)
            self._settle(manager, committed)

    @staticmethod
    def _settle(manager: KafkaConsumerManager[Any], committed: Committed) -> None:
        manager.relay.submit(committed)
        manager.counters.handled += committed.handled
        manager.counters.parked += committed.parked

    @staticmethod
    def _positions(manager: KafkaConsumerManager[Any]) -> list[LogPosition]:
        with manager.processor.store.transaction() as tx:
            positions: list[LogPosition] = tx.redriven_places(ROWS_MAX)
        return positions

    @staticmethod
    def _count_start(manager: KafkaConsumerManager[Any]) -> int:
        with manager.processor.store.transaction() as tx:
            starts: int = tx.count_start(NAME, 0)
        return starts

    def _forget_starts(self, manager: KafkaConsumerManager[Any]) -> None:
        with manager.processor.store.transaction() as tx:
            tx.forget_starts([NAME])
        self._first_batch_survived = True
