"""awa: a job a step, dispatched by its Rust runtime; each step's transaction inserts the next step's job.

Producer and worker are one process; a checkout has ended when its last step has committed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import uvloop
from awa import AsyncClient
from awa.bridge import insert_job
from benchmarks.peers.checkout_steps import STATEMENTS, STEPS, Order, order_of
from benchmarks.peers.worker import Checkout, serve

QUEUE = "checkout"
WORKERS = 32
SESSIONS = 20
SETTINGS = {
    "steps": "one job each, inserted in the transaction of the step before (awa.bridge)",
    "worker": f"queue storage, one queue (one a step costs more), {WORKERS} workers",
    "pool": f"{SESSIONS} sessions for the business, {SESSIONS} of awa's",
    "driver": "asyncpg, uvloop; awa's own in Rust",
}


@dataclass
class InventoryStep:
    saga_id: str
    number: int


@dataclass
class PaymentStep:
    saga_id: str
    number: int


@dataclass
class OrderStep:
    saga_id: str
    number: int


@dataclass
class CartStep:
    saga_id: str
    number: int


JOBS = dict(zip(STEPS, (InventoryStep, PaymentStep, OrderStep, CartStep), strict=True))


class Checkouts:
    """The four jobs, and who waits for the last."""

    def __init__(self, client: AsyncClient, pool: asyncpg.Pool) -> None:
        self._client = client
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def checkout(self, order: Order) -> None:
        ended = self._waiting[order.saga_id] = self._loop.create_future()
        async with self._pool.acquire() as session:
            await insert_job(session, JOBS[STEPS[0]](order.saga_id, order.number), queue=QUEUE)
        await ended

    def handler(self, step: str) -> Callable[[Any], Awaitable[None]]:
        """Return the job that does this step and inserts the next."""
        after = STEPS[STEPS.index(step) + 1 :][:1]

        async def run(job: Any) -> None:
            order = order_of(job.args.saga_id, job.args.number)
            async with self._pool.acquire() as session, session.transaction():
                done = await session.execute(STATEMENTS[step], *order.values(step))
                assert done == "INSERT 0 1", (step, done)
                for follower in after:
                    await insert_job(session, JOBS[follower](order.saga_id, order.number), queue=QUEUE)
            if not after:
                self._waiting.pop(order.saga_id).set_result(None)

        return run


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Checkout]:
    client = AsyncClient(dsn, max_connections=SESSIONS)
    await client.migrate()
    async with asyncpg.create_pool(dsn, min_size=SESSIONS, max_size=SESSIONS) as pool:
        checkouts = Checkouts(client, pool)
        for step in STEPS:
            client.task(JOBS[step], queue=QUEUE)(checkouts.handler(step))
        await client.start([(QUEUE, WORKERS)])
        yield checkouts.checkout
        await client.shutdown()
    await client.close()


if __name__ == "__main__":
    uvloop.run(serve(opened, SETTINGS))
