"""Group commit: one thread, one transaction for all waiting work, one fsync, then all the answers.

Callers decide what is written; this module only makes it durable.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import structlog

from holdfast.payment_provider.errors import ApiError
from holdfast.payment_provider.ledger import Ledger
from holdfast.payment_provider.operations import end_due

log = structlog.get_logger()

BATCH_MAX = 500
IDLE_S = 1.0
PRUNE_EVERY_S = 60.0
PRUNE_MAX = 5000

PASSING = frozenset({"SQLITE_FULL", "SQLITE_BUSY"})

Result = TypeVar("Result")


class LedgerDownError(ApiError):
    """500: the transaction failed, as far as this process knows; for the client the outcome is unknown."""

    def __init__(self, reason: str) -> None:
        super().__init__(500, f"The ledger cannot be written: {reason}", kind="api_error")


class _Job(NamedTuple):
    work: Callable[[Ledger], Any]
    future: "asyncio.Future[Any]"


class _Outcome(NamedTuple):
    future: "asyncio.Future[Any]"
    result: Any
    error: Exception | None


class Writer:
    """Runs work on the ledger and returns its result once it is durable.

    A full disk fails the batch and the next one is tried; any other failure of the file ends the thread,
    because what the disk holds is then unknown, and `on_death` is called.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        on_commit: Callable[[int, float], None] = lambda size, seconds: None,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._on_commit = on_commit
        self._on_death = on_death
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._batch: list[_Job] = []
        self._down = False
        self._failing = False
        self._pruned_at = time.monotonic()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._down

    def start(self) -> None:
        """Start the thread; results go to the event loop that is running now."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def submit(self, work: Callable[[Ledger], Result]) -> Result:
        """Return the result of `work` after its transaction is on the disk."""
        if self._down:
            raise LedgerDownError("the ledger's writer has stopped")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, future))
        return await future

    async def stop(self) -> None:
        """Commit and answer what was submitted, then close the ledger."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            while self._serve():
                pass
            self._ledger.close()
        except BaseException:  # for any failure, waiting callers must get an error, and the process must end
            log.exception("ledger_writer_died")
            self._in_loop(self._die)

    def _serve(self) -> bool:
        self._batch, goes_on = self._take()
        if self._batch or self._ledger.has_due() or self._prunes():
            started = time.perf_counter()
            outcomes = self._transact(self._batch)
            self._in_loop(self._finish, outcomes, time.perf_counter() - started)
        self._batch = []
        return goes_on

    def _take(self) -> tuple[list[_Job], bool]:
        """Wait for the first piece of work, take all that waits; False once no more can come."""
        jobs: list[_Job] = []
        wait_s = self._wait_s()
        while len(jobs) < BATCH_MAX:
            try:
                job = self._jobs.get(timeout=wait_s) if not jobs else self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return jobs, False
            jobs.append(job)
        return jobs, True

    def _wait_s(self) -> float:
        due_ms = self._ledger.next_due_ms
        if due_ms is None or self._failing:  # what is due can wait until the disk has room again
            return IDLE_S
        return min(max((due_ms - self._ledger.now_ms()) / 1000, 0.0), IDLE_S)

    def _transact(self, jobs: list[_Job]) -> list[_Outcome]:
        try:
            self._ledger.begin()
            outcomes = [self._attempt(job) for job in jobs]
            if self._ledger.has_due():
                end_due(self._ledger)
            if self._prunes():
                self._prune()
            self._ledger.commit()
        except sqlite3.OperationalError as error:
            self._ledger.rollback()
            self._failing = True
            if error.sqlite_errorname not in PASSING:
                raise
            log.warning("ledger_transaction_failed", error=str(error), lost=len(jobs))
            down = LedgerDownError(str(error))
            return [_Outcome(job.future, None, down) for job in jobs]
        self._failing = False
        return outcomes

    def _attempt(self, job: _Job) -> _Outcome:
        self._ledger.mark()
        try:
            result = job.work(self._ledger)
        except sqlite3.OperationalError:
            raise  # the file failed, not this job
        except Exception as error:  # noqa: BLE001  one request's failure must not fail its batch; its caller gets it
            self._ledger.rewind()
            return _Outcome(job.future, None, error)
        self._ledger.release()
        return _Outcome(job.future, result, None)

    def _prunes(self) -> bool:
        return time.monotonic() - self._pruned_at > PRUNE_EVERY_S

    def _prune(self) -> None:
        if self._ledger.prune_keys(PRUNE_MAX) < PRUNE_MAX:
            self._pruned_at = time.monotonic()

    def _in_loop(self, call: Callable[..., None], *args: Any) -> None:
        if self._loop is None:
            raise RuntimeError("start() first")
        with suppress(RuntimeError):  # the loop is closed: no caller waits for an answer any more
            self._loop.call_soon_threadsafe(call, *args)

    def _finish(self, outcomes: list[_Outcome], seconds: float) -> None:
        self._answer(outcomes)
        self._on_commit(len(outcomes), seconds)

    def _answer(self, outcomes: list[_Outcome]) -> None:
        for future, result, error in outcomes:
            if future.done():  # its request was cancelled
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def _die(self) -> None:
        """Fail all waiting work. Runs in the event loop, like `submit`, which refuses later work."""
        self._down = True
        waiting = list(self._batch)
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    waiting.append(job)
        down = LedgerDownError("the ledger's writer has stopped")
        self._answer([_Outcome(job.future, None, down) for job in waiting])
        self._on_death()
