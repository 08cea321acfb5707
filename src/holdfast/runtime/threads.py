"""A thread pool for one kind of blocking work: slow work takes no thread or connection from another kind."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from holdfast.runtime.problems import OVERLOADED, Problem

P = ParamSpec("P")
T = TypeVar("T")

WAITING_MAX = 64


class Threads:
    """Runs at most `count` calls at once, each with at most one connection; `waiting_max` more may wait."""

    def __init__(self, name: str, count: int, waiting_max: int = WAITING_MAX) -> None:
        self._pool = ThreadPoolExecutor(count, name)
        self._slots = count + waiting_max

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` returns. Raises what it raises; Problem at once if too many calls wait."""
        if not self._slots:
            raise Problem(OVERLOADED, headers={"Retry-After": "1"})
        self._slots -= 1
        future = self._pool.submit(work, *args, **kwargs)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(self._release))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Wait until all calls that were accepted have ended."""
        self._pool.shutdown()

    def _release(self) -> None:
        self._slots += 1
