"""A peer in a process of its own: told each load on its standard input, it answers with what it measured."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager

from benchmarks.load import closed_load, open_load
from benchmarks.peers.checkout_steps import Order, orders

Checkout = Callable[[Order], Awaitable[None]]
"""Returns when all four steps of this order are committed."""

Opened = Callable[[str], AbstractAsyncContextManager[Checkout]]


async def serve(opened: Opened, settings: Mapping[str, str]) -> None:
    """Open the peer on the database that BENCH_DSN names, and carry out loads until input ends."""
    async with opened(os.environ["BENCH_DSN"]) as checkout:
        _say({"settings": settings})
        async for told in _lines():
            source: Iterator[Order] = orders(told["first"])

            def buy(source: Iterator[Order] = source) -> Awaitable[None]:
                return checkout(next(source))

            if "rate" in told:
                run = await open_load(buy, told["rate"], told["seconds"])
            else:
                run = await closed_load(buy, told["count"], told["in_flight"])
            _say({"seconds": run.seconds, "latencies_ms": run.latencies_ms})


async def _lines() -> AsyncIterator[dict[str, int]]:
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield json.loads(line)


def _say(document: object) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()
