"""Threads for one kind of blocking work: a slow kind takes neither threads nor connections from another."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from holdfast.runtime.problems import OVERLOADED, Problem

P = ParamSpec("P")
T = TypeVar("T")

WAITING_MAX = 64


class Threads:
    """At most `count` calls at once, each with at most one connection; so many more may wait, then none."""

    def __init__(self, name: str, count: int, waiting_max: int = WAITING_MAX) -> None:
        self._pool = ThreadPoolExecutor(count, name)
        self._places = count + waiting_max

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` returns. Raises what it raises; Problem at once if too many wait."""
        if not self._places:
            raise Problem(OVERLOADED, headers={"Retry-After": "1"})
        self._places -= 1
        future = self._pool.submit(work, *args, **kwargs)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(self._left))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown()

    def _left(self) -> None:
        self._places += 1
