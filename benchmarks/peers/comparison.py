"""Runs each peer on a database of its own, on a server with our settings, and checks its books."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.database_counters import DatabaseCounters, Usage
from benchmarks.load import Run
from benchmarks.peers.checkout_steps import check_books, create_business_tables
from benchmarks.processes import CpuMeter

from holdfast.local.postgres import SUPERUSER, EmbeddedPostgres
from holdfast.local.processes import HOST

PEERS = {"DBOS Transact": "dbos", "pgqueuer": "pgqueuer", "awa": "awa"}
WARM_UP = 200


@dataclass(frozen=True)
class Load:
    """What to ask of a peer: so many in flight until `count` are done, or so many a second."""

    name: str
    count: int
    in_flight: int = 0
    rate: float = 0.0

    @property
    def told(self) -> dict[str, float]:
        if self.rate:
            return {"rate": self.rate, "seconds": self.count / self.rate}
        return {"count": self.count, "in_flight": self.in_flight}


class Peer:
    """A peer's process, which runs the loads that it is told."""

    def __init__(self, module: str, server: EmbeddedPostgres, database: str, *, settled: bool) -> None:
        self._dsn = dsn_of(server, database)
        self._counters = DatabaseCounters(server)
        self._settled = settled
        self._bought = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.peers.{module}_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "BENCH_DSN": self._dsn},
            cwd=Path(__file__).parents[2],
        )
        self._cpu = CpuMeter({"postgres": server.process.pid, "peer": self._process.pid})
        self.settings: Mapping[str, str] = self._hear()["settings"]

    def run(self, load: Load) -> tuple[Run, Usage]:
        """Run one load; return it with what the server and the peer did meanwhile."""
        before = self._counters.read(settled=self._settled)
        self._cpu.start()
        run = self._ask(load)
        self._cpu.stop()
        after = self._counters.read(settled=self._settled)
        return run, self._counters.between(before, after, self._cpu)

    def warm_up(self, count: int) -> None:
        self._ask(Load("warm-up", count, in_flight=4))

    def close(self) -> None:
        """End the process and check its books."""
        _pipe(self._process.stdin).close()
        code = self._process.wait(60)
        assert code == 0, f"the peer ended with {code}"
        check_books(self._dsn, self._bought)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ask(self, load: Load) -> Run:
        told = _pipe(self._process.stdin)
        told.write(json.dumps({**load.told, "first": self._bought}) + "\n")
        told.flush()
        heard = self._hear()
        run = Run(heard["seconds"], heard["latencies_ms"])
        self._bought += run.count
        return run

    def _hear(self) -> dict[str, Any]:
        line = _pipe(self._process.stdout).readline()
        assert line, f"the peer ended: {self._process.wait()}"
        heard: dict[str, Any] = json.loads(line)
        return heard


@contextmanager
def peer(name: str, server: EmbeddedPostgres, carts: int, *, settled: bool) -> Iterator[Peer]:
    """Start a peer on a database with full carts; its books are checked when the block ends well."""
    module = PEERS[name]
    database = f"peer_{module}"
    server.ensure_database(database)
    create_business_tables(dsn_of(server, database), carts)
    running = Peer(module, server, database, settled=settled)
    try:
        yield running
        running.close()
    finally:
        running.kill()


def dsn_of(server: EmbeddedPostgres, database: str) -> str:
    """Return a DSN that every driver understands: with the password of this throw-away server."""
    return f"postgresql://{SUPERUSER}:{server.passwords.read(SUPERUSER)}@{HOST}:{server.port}/{database}"


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream
    return stream
