"""What the benchmarks count on a real server is what was done there."""

from collections.abc import Iterator

import psycopg
import pytest
from benchmarks.database_counters import DatabaseCounters
from benchmarks.wire_counter import WireCounter
from tests.eventually import eventually

from holdfast.local.postgres import EmbeddedPostgres


@pytest.fixture
def wire() -> Iterator[WireCounter]:
    with WireCounter() as wire:
        yield wire


def test_wal_is_counted_with_and_without_full_page_images(postgres: EmbeddedPostgres, database: str) -> None:
    counters = DatabaseCounters(postgres)
    with psycopg.connect(database, autocommit=True) as session:
        session.execute("create table fact (id int, text text)")
        session.execute("insert into fact select n, repeat('x', 100) from generate_series(1, 50) as n")
        session.execute("checkpoint")  # from here on the first change of each page brings its image
        before = counters.read(settled=False)
        session.execute("insert into fact values (51, repeat('x', 100))")
        after = counters.read(settled=False)
    usage = counters.between(before, after)
    assert usage.wal_bytes is not None
    assert 50 < usage.wal_bytes < 1_000  # what stands in the image is not told again
    assert usage.wal_bytes_all > usage.wal_bytes + 5_000


def test_the_wire_and_the_server_count_the_same_commits(
    postgres: EmbeddedPostgres, database: str, wire: WireCounter
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    counters = DatabaseCounters(postgres)
    before = counters.read(settled=False)
    with psycopg.connect(wire.dsn(database), autocommit=True) as session:
        for n in range(20):  # one of them is first prepared, by a transaction of its own
            session.execute("select %s::int", [n])
        with session.transaction():
            session.execute("create table fact (id int)")
        with session.pipeline(), session.transaction():
            session.execute("insert into fact values (1)")
            session.execute("insert into fact values (2)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            session.execute("select 1/0")

    def has_all() -> bool:
        return counters.read(settled=False).commits[str(name)] == wire.counts().databases[str(name)]

    eventually(has_all, "the session that ended has handed over all that it did")
    counts = wire.counts()
    assert counts.commits == {"postgres": 1 + 20 + 1 + 2}  # the first looks up the role as it connects
    assert counts.connections == {"postgres": 1}
    assert counters.read(settled=False).fsyncs > before.fsyncs
