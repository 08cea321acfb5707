"""What the writer does between batches: operators' requests, and tasks that are due by time.

Messages wait behind both, so that each is short, and there are only so many requests in a row.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.store import RowsUnavailable, Transaction

if TYPE_CHECKING:
    from holdfast.messaging.consumer import KafkaConsumerManager

REQUESTS_IN_A_ROW_MAX = 20

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=Transaction)


class WriterTasks(Generic[T]):
    """The requests and periodic tasks of one writer; `submit` and `hurry` are safe from any thread."""

    def __init__(self, tasks: Sequence[PeriodicTask[T]]) -> None:
        self.periodic = list(tasks)
        self._requests: SimpleQueue[tuple[Callable[[T], tuple[HandlerResult, Any]], Future[Any]]] = (
            SimpleQueue()
        )

    def submit(self, work: Callable[[T], tuple[HandlerResult, Any]]) -> "Future[Any]":
        """Queue `work`; its second value is the future's result."""
        future: Future[Any] = Future()
        self._requests.put((work, future))
        return future

    def has_requests(self) -> bool:
        """Tell whether requests wait."""
        return not self._requests.empty()

    def hurry(self, name: str) -> None:
        """Make this periodic task due at once."""
        for task in self.periodic:
            if task.name == name:
                task.due_ms = 0

    def serve_requests(self, manager: "KafkaConsumerManager[T]") -> None:
        """Serve operators' requests, at most REQUESTS_IN_A_ROW_MAX."""
        for _ in range(REQUESTS_IN_A_ROW_MAX):
            try:
                work, future = self._requests.get_nowait()
            except Empty:
                return
            self._serve(manager, work, future)

    def run_due(self, manager: "KafkaConsumerManager[T]", now_ms: int) -> None:
        """Run the periodic tasks that are due. Raises StoreUnavailable and BusUnavailable."""
        for task in self.periodic:
            if now_ms >= task.due_ms:
                task.due_ms = now_ms + task.every_ms
                try:
                    task.run_once(manager)
                except RowsUnavailable as error:  # the task waits until it is due again; messages need not
                    manager.counters.tasks_postponed += 1
                    log.warning("task_postponed", task=task.name, error=str(error))

    @staticmethod
    def _serve(
        manager: "KafkaConsumerManager[T]",
        work: Callable[[T], tuple[HandlerResult, Any]],
        future: "Future[Any]",
    ) -> None:
        if not future.set_running_or_notify_cancel():
            return
        values: list[Any] = []

        def run(tx: T) -> HandlerResult:
            result, value = work(tx)
            values.append(value)
            return result

        try:
            manager.commit(run)
        except Exception as error:  # noqa: BLE001 - the caller gets it and decides
            future.set_exception(error)
        else:
            future.set_result(values[-1])
