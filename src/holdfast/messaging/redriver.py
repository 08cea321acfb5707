"""The writer's task that processes what operators redrive: the parked rows themselves, not over the bus.

Only a message's own writer may say it, so its reader cannot publish it again.
"""

from collections.abc import Sequence
from typing import Any

import structlog

from holdfast.messaging.batch_processor import Committed
from holdfast.messaging.consumer import KILLS, KafkaConsumerManager
from holdfast.messaging.parked import LogPosition
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.poison import ONE_BY_ONE_FROM, PARKED_FROM
from holdfast.messaging.store import StoreUnavailable

NAME = "redriver"
LOOK_EVERY_MS = 5_000
ROWS_MAX = 10
"""Records may be of 1 MB each, and one transaction holds them all."""
BATCHES_MAX = 20
"""After so many the writer polls the bus again; what is left is due at once."""

log = structlog.get_logger(__name__)


class Redriver:
    """Hands redriven rows to the unit of work as the records that they were; each learns what came of it.

    Two instances never handle one row at a time, and a crash leaves it to be handled again: the outcome is
    noted in the transaction that handles it. A batch that fails is halved until one row is alone, which is
    parked again; one that kills the process is found by counting starts, as on the bus.
    """

    def __init__(self) -> None:
        self._started = False

    def run(self, manager: KafkaConsumerManager[Any]) -> None:
        """Process what is redriven, in the order of places. Raises StoreUnavailable: it is tried again."""
        for _ in range(BATCHES_MAX):
            places = self._places(manager)
            if not places:
                return
            starts = 0 if self._started else self._count_start(manager)
            if starts >= PARKED_FROM:
                detail = f"{starts - 1} processes began with this message and ended"
                self._settle(manager, manager.processor.park_again(places[0], KILLS, detail))
            else:
                self._handle(manager, places[:1] if starts >= ONE_BY_ONE_FROM else places)
            if not self._started:
                self._forget_starts(manager)
        manager.hurry(NAME)

    def periodic_task(self) -> PeriodicTask[Any]:
        """Return this as a chore of the writer; a redrive on this instance makes it due at once."""
        return PeriodicTask(NAME, LOOK_EVERY_MS, self.run)

    def _handle(self, manager: KafkaConsumerManager[Any], places: Sequence[LogPosition]) -> None:
        todo = [list(places)]
        while todo:
            some = todo.pop()
            try:
                committed = manager.processor.run_redriven(some)
            except StoreUnavailable:
                raise
            except Exception as error:
                if len(some) > 1:
                    middle = len(some) // 2
                    todo += [some[middle:], some[:middle]]
                    continue
                log.exception("redriven_message_failed", place=str(some[0]))
                detail = f"{type(error).__name__}: {error}"
                committed = manager.processor.park_again(some[0], "handler_failed", detail)
            self._settle(manager, committed)

    @staticmethod
    def _settle(manager: KafkaConsumerManager[Any], committed: Committed) -> None:
        manager.relay.submit(committed)
        manager.counters.handled += committed.handled
        manager.counters.parked += committed.parked

    @staticmethod
    def _places(manager: KafkaConsumerManager[Any]) -> list[LogPosition]:
        with manager.processor.store.transaction() as tx:
            places: list[LogPosition] = tx.redriven_places(ROWS_MAX)
        return places

    @staticmethod
    def _count_start(manager: KafkaConsumerManager[Any]) -> int:
        with manager.processor.store.transaction() as tx:
            starts: int = tx.count_start(NAME, 0)
        return starts

    def _forget_starts(self, manager: KafkaConsumerManager[Any]) -> None:
        with manager.processor.store.transaction() as tx:
            tx.forget_starts([NAME])
        self._started = True
