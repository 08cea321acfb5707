"""Closed and open loads, and their arithmetic: when requests are due, and what became of them.

A closed load says how much a machine can do; an open one how long somebody waits, whatever became of others.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Run:
    """One measured load. A latency counts from when a request was due, not from when it was sent."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    def ended(self, seconds: float) -> "Run":
        """Close the books of this load: its latencies are put in order."""
        self.seconds = seconds
        self.latencies_ms.sort()
        return self

    @property
    def count(self) -> int:
        return len(self.latencies_ms)

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def percentile(self, share: float) -> float:
        return percentile(self.latencies_ms, share)


def percentile(ascending: list[float], share: float) -> float:
    """Return the smallest value that at least this share of all does not exceed (the nearest rank)."""
    if not ascending:
        raise ValueError("nothing was measured")
    rank = -(-len(ascending) * round(share * 10_000) // 10_000)  # upwards, without a float's error
    return ascending[max(0, min(len(ascending), rank) - 1)]


def due_times(begin: float, rate: float, seconds: float) -> Iterator[float]:
    """Yield when each request of an open load is due: evenly, whatever became of those before it."""
    for n in range(round(rate * seconds)):
        yield begin + n / rate


_now = time.perf_counter  # an event loop's clock may stand still for a millisecond


async def closed_load(buy: Callable[[], Awaitable[object]], count: int, in_flight: int) -> Run:
    """Keep `in_flight` requests under way until `count` are done."""
    run, turns = Run(), iter(range(count))

    async def shopper() -> None:
        for _ in turns:
            began = _now()
            await buy()
            run.latencies_ms.append((_now() - began) * 1000)

    started = _now()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(shopper())
    return run.ended(_now() - started)


async def open_load(buy: Callable[[], Awaitable[object]], rate: float, seconds: float) -> Run:
    """Begin `rate` requests a second, come what may; a latency counts from when its request was due."""
    run = Run()

    async def shopper(due: float) -> None:
        await buy()
        run.latencies_ms.append((_now() - due) * 1000)

    started = _now()
    async with asyncio.TaskGroup() as group:
        for due in due_times(started, rate, seconds):
            await asyncio.sleep(max(0.0, due - _now()))
            group.create_task(shopper(due))
    return run.ended(_now() - started)
