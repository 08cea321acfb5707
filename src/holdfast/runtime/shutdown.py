"""How a process ends: the first signal drains it, a second one ends it at once, and a time limit ends it too.

`process` knows how loops and connections are drained; this module only starts the stop and keeps its time.
"""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import structlog
import uvicorn

from holdfast.http_server.config import GuardedConfig

STOP_WITHIN_S = 18.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


class Shutdown:
    """Knows whether the process is stopping, and how much time is left for the stop."""

    def __init__(self, within_s: float = STOP_WITHIN_S) -> None:
        self._within_s = within_s
        self._deadline: float | None = None
        self._signalled = False
        self._lame_duck_ends: float | None = None
        self.begun = threading.Event()
        self.announced = threading.Event()

    def on_signal(self, tell: Callable[[], None]) -> None:
        """Make the first SIGTERM or SIGINT call `tell`, and a second one exit with 128 + its number."""

        def handle(number: int, _: FrameType | None) -> None:
            # Takes no lock: the code that this interrupts may hold it.
            if self._signalled:
                os._exit(128 + number)
            self._signalled = True
            tell()

        for number in SIGNALS:
            signal.signal(number, handle)

    def announce(self, lame_duck_s: float) -> bool:
        """Announce the stop at the first call; return True once `lame_duck_s` have passed since then."""
        if self._lame_duck_ends is None:
            self._lame_duck_ends = time.monotonic() + lame_duck_s
            self.announced.set()
        return time.monotonic() >= self._lame_duck_ends

    def begin(self) -> None:
        """Start the time limit, once: if the process has not ended when the time is up, it is killed."""
        if self.begun.is_set():
            return
        self.announced.set()
        self.begun.set()
        self._deadline = time.monotonic() + self._within_s
        threading.Thread(target=self._watch, name="stopping", daemon=True).start()

    def left_s(self, at_most_s: float) -> float:
        """Return how long one part of the stop may take: `at_most_s` or what is left, never below 0.1 s."""
        left = self._within_s if self._deadline is None else self._deadline - time.monotonic()
        return max(0.1, min(at_most_s, left))

    def _watch(self) -> None:
        time.sleep(self._within_s + 1.0)
        try:
            log.error("stop_took_too_long", seconds=self._within_s)  # committed rows are safe in the outbox
        finally:
            os._exit(1)


class OpsServer(uvicorn.Server):
    """The listener of the operations endpoints; it runs exactly as long as its `DrainingServer`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class DrainingServer(uvicorn.Server):
    """uvicorn without its signal handlers; `leaving` is called when it stops listening, before it waits.

    Code that holds responses back must release them in `leaving`: after the grace, open connections are cut.
    Before that, for `lame_duck_s`, /readyz says "not ready" but requests are still answered, each response
    the last of its connection, so that a load balancer has time to choose another process.
    """

    def __init__(
        self,
        config: GuardedConfig,
        ops: OpsServer,
        stopping: Shutdown,
        leaving: Sequence[Callable[[], None]],
        lame_duck_s: float = 0.0,
    ) -> None:
        super().__init__(config)
        self._table = config.table
        self._ops = ops
        self._stopping = stopping
        self._leaving = leaving
        self.lame_duck_s = lame_duck_s

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the handlers of `Shutdown.on_signal` stay in place

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        ops = asyncio.create_task(self._ops.serve())
        try:
            await super().serve(sockets)
        finally:
            self._ops.should_exit = True
            await ops

    async def on_tick(self, counter: int) -> bool:
        if not await super().on_tick(counter):
            return False
        self._table.is_leaving = True
        return self._stopping.announce(self.lame_duck_s)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.begin()
        for leave in self._leaving:
            leave()
        await super().shutdown(sockets)
