"""pgqueuer: a job a step; each step's transaction enqueues the next step's job.

Producer and worker are one process; a checkout has ended when its last step has committed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import uvloop
from benchmarks.peers.checkout_steps import STATEMENTS, STEPS, Order, order_of
from benchmarks.peers.worker import Checkout, serve
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

BATCH = 10
SESSIONS = 20
SETTINGS = {
    "steps": "one job each, enqueued in the transaction of the step before",
    "worker": f"batch_size {BATCH}, tables durable (logged)",
    "pool": f"{SESSIONS} sessions",
    "driver": "asyncpg, uvloop",
}


class Checkouts:
    """The four jobs, and who waits for the last."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._queries = Queries.from_asyncpg_pool(pool)
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def checkout(self, order: Order) -> None:
        ended = self._waiting[order.saga_id] = asyncio.get_running_loop().create_future()
        await self._queries.enqueue(STEPS[0], _payload(order))
        await ended

    def handler(self, step: str) -> Callable[[Job], Awaitable[None]]:
        """Return the job that does this step and enqueues the next."""
        after = STEPS[STEPS.index(step) + 1 :][:1]

        async def run(job: Job) -> None:
            saga_id, _, number = job.payload.decode().partition(" ")
            order = order_of(saga_id, int(number))
            async with self._pool.acquire() as session, session.transaction():
                done = await session.execute(STATEMENTS[step], *order.values(step))
                assert done == "INSERT 0 1", (step, done)
                for follower in after:
                    await Queries.from_asyncpg_connection(session).enqueue(follower, _payload(order))
            if not after:
                self._waiting.pop(saga_id).set_result(None)

        return run


def _payload(order: Order) -> bytes:
    return f"{order.saga_id} {order.number}".encode()


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Checkout]:
    async with asyncpg.create_pool(dsn, min_size=SESSIONS, max_size=SESSIONS) as pool:
        await Queries.from_asyncpg_pool(pool).install()
        worker = PgQueuer.from_asyncpg_pool(pool)
        checkouts = Checkouts(pool)
        for step in STEPS:
            worker.entrypoint(step)(checkouts.handler(step))
        running = asyncio.create_task(worker.run(batch_size=BATCH, dequeue_timeout=timedelta(seconds=30)))
        yield checkouts.checkout
        worker.shutdown.set()
        await running


if __name__ == "__main__":
    uvloop.run(serve(opened, SETTINGS))
