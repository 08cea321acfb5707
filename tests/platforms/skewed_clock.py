"""A database clock that a test can set: it replaces the `now()` of production's statements."""

import psycopg
from psycopg.rows import TupleRow

from holdfast.runtime.production_ports import monotonic_ms

_CLOCK = """
    create schema skew;
    create table skew.clock (ahead_ms bigint not null);
    insert into skew.clock values (0);
    create function skew.now() returns timestamptz language sql stable as
        'select pg_catalog.now() + ahead_ms * interval ''1 millisecond'' from skew.clock';
    create function skew.clock_timestamp() returns timestamptz language sql volatile as
        'select pg_catalog.clock_timestamp() + ahead_ms * interval ''1 millisecond'' from skew.clock';
"""


class SkewedClock:
    """One clock for several databases. `pass_ms` lets time pass, `jump_ms` only sets the databases' clock.

    A name without its schema is looked up along the search path: `skew` stands before `pg_catalog`.
    """

    def __init__(self) -> None:
        self._sessions: list[psycopg.Connection[TupleRow]] = []
        self._passed_ms = 0

    def install(self, dsn: str) -> None:
        """Put the clock into an empty database: the defaults of its tables shall use it, too."""
        session = psycopg.connect(dsn, autocommit=True)
        self._sessions.append(session)
        session.execute(_CLOCK)
        database = session.info.dbname
        session.execute(f"alter database {database} set search_path = public, skew, pg_catalog".encode())

    def monotonic_ms(self) -> int:
        """Return a clock that never jumps."""
        return monotonic_ms() + self._passed_ms

    def pass_ms(self, ms: int) -> None:
        self._passed_ms += ms
        self.jump_ms(ms)

    def jump_ms(self, ms: int) -> None:
        for session in self._sessions:
            session.execute("update skew.clock set ahead_ms = ahead_ms + %s", [ms])

    def close(self) -> None:
        for session in self._sessions:
            session.close()
