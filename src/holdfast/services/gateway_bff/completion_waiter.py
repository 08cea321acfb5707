"""Holds answers until a checkout ends: one task for all waiting requests (`Prefer: wait`, RFC 7240).

The writer wakes the task after it has committed ends; the task polls for ends that other instances wrote.
"""

import asyncio
from collections.abc import Callable, Collection

import structlog

from holdfast.messaging.store import Store, StoreUnavailable
from holdfast.services.gateway_bff.store_port import GatewayTransaction

POLL_EVERY_S = 0.05
WAITING_MAX = 5_000

log = structlog.get_logger(__name__)


class CompletionWaiter:
    """Keeps which requests wait for which saga. One event loop only, except `endings_written`."""

    def __init__(self, store: Store[GatewayTransaction]) -> None:
        self._store = store
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self.held = 0
        self._stopping = False
        self._wakeup = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self) -> Callable[[], None]:
        """Start the task; return the function that the writer calls, from its thread, after a commit."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run())
        return self.endings_written

    def endings_written(self) -> None:
        """Wake the task to read ended checkouts now. Safe from any thread."""
        if self._loop is not None and self._waiting and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wakeup.set)

    async def wait(self, saga_id: str, timeout_s: float) -> None:
        """Return when the saga ends or after the timeout; at once if too many wait or the process stops."""
        if self.held >= WAITING_MAX or self._stopping:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._wakeup.set()  # nothing was waited for until now: start polling
        self._waiting.setdefault(saga_id, set()).add(future)
        self.held += 1
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            pass
        finally:
            self.held -= 1
            others = self._waiting.get(saga_id, set())
            others.discard(future)
            if not others:
                self._waiting.pop(saga_id, None)

    def leave(self) -> None:
        """Let all requests go now, and each later one at once: the process is stopping."""
        self._stopping = True
        for futures in list(self._waiting.values()):
            _release(futures)

    async def close(self) -> None:
        """Stop the task and let all requests go."""
        self.leave()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(POLL_EVERY_S if self._waiting else None):
                    await self._wakeup.wait()
            except TimeoutError:
                pass
            self._wakeup.clear()
            if self._waiting:
                await self._release_ended()

    async def _release_ended(self) -> None:
        try:
            ended = await asyncio.to_thread(self._find, list(self._waiting))
        except StoreUnavailable as error:
            log.warning("endings_not_read", error=str(error))
            await asyncio.sleep(POLL_EVERY_S)
            return
        except Exception:  # waiting requests are answered late then, but the task must live on
            log.exception("endings_not_read")
            await asyncio.sleep(POLL_EVERY_S)
            return
        for saga_id in ended:
            _release(self._waiting.get(saga_id, set()))

    def _find(self, saga_ids: Collection[str]) -> frozenset[str]:
        with self._store.transaction() as tx:
            return tx.find_terminal(saga_ids)


def _release(futures: "Collection[asyncio.Future[None]]") -> None:
    for future in list(futures):
        if not future.done():
            future.set_result(None)
