"""DBOS Transact: a workflow of four transactions, each committed together with its checkpoint.

A synchronous workflow called directly, as its documentation shows first; one thread a checkout under way.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.peers.checkout_steps import STATEMENTS, STEPS, Order, named, order_of
from benchmarks.peers.worker import Checkout, serve
from dbos import DBOS, SQLAlchemyDatasource
from sqlalchemy import text

THREADS = 4  # in one process more of them only wait for each other
SETTINGS = {
    "workflow": f"synchronous, called directly, {THREADS} threads a process",
    "steps": "SQLAlchemyDatasource.transaction, READ COMMITTED",
    "pools": f"{THREADS} sessions each for the system and the application database",
    "driver": "psycopg 3 by SQLAlchemy",
}


def workflow(datasource: Any) -> Callable[[str, int], None]:
    """Register the workflow and its four transactions."""

    def transaction(step: str) -> Callable[[str, int], None]:
        statement = text(named(STATEMENTS[step]))

        def run(saga_id: str, number: int) -> None:
            values = order_of(saga_id, number).values(step)
            done = datasource.sql_session().execute(
                statement, {f"p{n}": value for n, value in enumerate(values, 1)}
            )
            assert done.rowcount == 1, step

        made: Callable[[str, int], None] = datasource.transaction(
            run, name=step, isolation_level="READ COMMITTED"
        )
        return made

    steps = [transaction(step) for step in STEPS]

    def checkout(saga_id: str, number: int) -> None:
        for step in steps:
            step(saga_id, number)

    registered: Callable[[str, int], None] = DBOS.workflow(name="checkout")(checkout)
    return registered


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Checkout]:
    url = dsn.replace("postgresql://", "postgresql+psycopg://")
    pool = {"pool_size": THREADS, "max_overflow": 0}
    DBOS(
        config={
            "name": "bench",
            "executor_id": str(os.getpid()),  # a process recovers its own workflows, not its neighbour's
            "system_database_url": url,
            "sys_db_pool_size": THREADS,
            "db_engine_kwargs": pool,
            "log_level": "ERROR",
        }
    )
    datasource = SQLAlchemyDatasource.create(url, engine_kwargs=pool)
    buy = workflow(datasource)
    DBOS.launch()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(THREADS) as threads:

        async def checkout(order: Order) -> None:
            await loop.run_in_executor(threads, buy, order.saga_id, order.number)

        yield checkout
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(serve(opened, SETTINGS))
