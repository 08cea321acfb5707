"""A PostgreSQL store and its memory twin, made to do the same and compared at every step."""

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import psycopg
from hypothesis import HealthCheck, Phase, settings

from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.postgres_store import PostgresStore
from holdfast.messaging.store import StatementFailed, StoreUnavailable
from holdfast.runtime.migrations import migrate

Work = Callable[[Any], Any]
HOUR_MS = 3_600_000
START_MS = int(time.time() * 1000)
"""The memory's clock, standing still; times in these tests are hours away from it."""

SEQUENCES = 250
"""How many drawn sequences of operations each comparison of two stores runs."""

_DRAWING = settings(
    max_examples=SEQUENCES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def sequences(test: Callable[..., None]) -> Callable[..., None]:
    """Run a `given` test on drawn sequences, and fail where it ran fewer than promised."""
    drawn = _DRAWING(test)

    @wraps(drawn)
    def counted(**fixtures: Any) -> None:
        store_pair = next(value for value in fixtures.values() if isinstance(value, StorePair))
        drawn(**fixtures)
        assert store_pair.sequences >= SEQUENCES

    return counted


class StorePair:
    """Both stores, emptied by `reset`, which begins a sequence."""

    def __init__(
        self, dsn: str, package: str, postgres_type: type[Any], memory_type: type[Any], size: int = 1
    ) -> None:
        packages = ["holdfast.messaging", *([package] if package else [])]
        migrate(dsn, packages, time.sleep)
        with psycopg.connect(dsn, autocommit=True) as connection:  # no test outlives its server
            name = connection.info.dbname
            connection.execute(f"alter database {name} set synchronous_commit = off".encode())
        self.postgres: PostgresStore[Any] = PostgresStore(dsn, postgres_type, size=size)
        self.memory: MemoryStore[Any] = MemoryStore(memory_type, lambda: START_MS)
        self._memory_type = memory_type
        self.sequences = 0
        self._connection = psycopg.connect(dsn, autocommit=True)
        tables = self.select(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> 'migration'"
        )
        resets = [f"delete from {table}" for (table,) in tables]
        self._reset = "; ".join([*resets, "alter sequence outbox_id_seq restart"])

    def reset(self) -> None:
        """Empty both."""
        self.sequences += 1
        self._connection.execute(self._reset.encode())
        self.memory = MemoryStore(self._memory_type, lambda: START_MS)

    def transact(self, work: Work, *, commit: bool = True) -> Any:
        """Do the same work in a transaction of each; what it returns must be equal, or both must refuse."""
        real, twin = (self._attempt(store, work, commit) for store in (self.postgres, self.memory))
        assert twin == real
        return real

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        """Read the real tables past the store."""
        return self._connection.execute(statement.encode()).fetchall()

    def rows(self, table: str) -> list[Any]:
        """Return the rows of a memory table, in the order of their keys."""
        return [row for _, row in sorted(self.memory.tables.tables.get(table, {}).items())]

    def close(self) -> None:
        self._connection.close()
        self.postgres.close()

    def _attempt(self, store: Any, work: Work, commit: bool) -> Any:
        try:
            with store.transaction() as tx:
                result = work(tx)
                if not commit:
                    _roll_back(result)
        except _RolledBack as rolled_back:
            return rolled_back.args[0]
        except (StatementFailed, ValueError):
            return "refused"
        except StoreUnavailable:
            return "unavailable"
        return result


class _RolledBack(Exception):
    pass


def _roll_back(result: Any) -> None:
    raise _RolledBack(result)


def in_turn(operations: Sequence[Work]) -> Work:
    """Make one piece of work of several; it returns what each returned."""
    return lambda tx: [operation(tx) for operation in operations]
