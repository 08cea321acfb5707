"""A service's store on PostgreSQL: transactions on pooled sessions, and what a failed one raises."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import psycopg
import structlog

from holdfast.messaging.database import PostgresTransaction
from holdfast.messaging.database_session import SESSION, breaks_session, connect, is_trouble, unavailable
from holdfast.messaging.pipeline import Pipeline
from holdfast.messaging.pool import Pool, PoolExhausted, ServerDown
from holdfast.messaging.store import StoreUnavailable

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=PostgresTransaction)


class PostgresStore(Generic[T]):
    """A service's database behind a pool of connections; transactions are of type `T`.

    The DSN may name several hosts: only one that accepts writes is used.
    """

    def __init__(self, dsn: str, transaction_type: type[T], *, size: int = 4, name: str = "holdfast") -> None:
        self._type = transaction_type
        self._pool: Pool[Pipeline] = Pool(
            lambda: Pipeline(connect(dsn, SESSION, application_name=name)), time.monotonic, size
        )

    @contextmanager
    def transaction(self) -> Iterator[T]:
        """Open a transaction; see `store.Store`. An ambiguous commit raises StoreUnavailable, too.

        The caller then runs the same work again, and history, fence or unique key shows what was done.
        """
        pipeline, broken = self._take(), True
        try:
            pipeline.begin()
            yield self._type(pipeline)
            pipeline.commit()
            broken = False
        except psycopg.Error as error:
            broken = breaks_session(error) or not pipeline.rolled_back()
            if not is_trouble(error):
                if error.sqlstate is None:
                    raise  # psycopg's own refusal of a value: a bug that meets one message
                log.warning("statement_failed", error=str(error), sqlstate=error.sqlstate)
            raise unavailable(error) from error
        except BaseException:
            broken = not pipeline.rolled_back()
            raise
        finally:
            if broken:
                self._pool.discard(pipeline)
            else:
                self._pool.give_back(pipeline)

    def close(self) -> None:
        """Close the connections; one in use when its transaction ends."""
        self._pool.close()

    def _take(self) -> Pipeline:
        try:
            return self._pool.take()
        except (PoolExhausted, ServerDown, psycopg.Error) as error:
            raise StoreUnavailable(f"no connection: {error}") from error
