"""Runs each peer on a database of its own, on a server with our settings, and checks its books."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from benchmarks.database_counters import DatabaseCounters, Usage
from benchmarks.load import Run
from benchmarks.peers.checkout_steps import check_books, create_business_tables
from benchmarks.processes import CpuMeter

from holdfast.local.postgres import SUPERUSER, EmbeddedPostgres
from holdfast.local.processes import HOST


class PeerPlan(NamedTuple):
    """How a peer is run: its module, and with how many in flight and processes it had its highest rate."""

    module: str
    most_in_flight: int
    processes: int = 1


PEERS = {
    "DBOS Transact": PeerPlan("dbos", most_in_flight=8, processes=2),
    "pgqueuer": PeerPlan("pgqueuer", most_in_flight=64),
    "awa": PeerPlan("awa", most_in_flight=64),
}


@dataclass(frozen=True)
class Load:
    """What to ask of a peer: so many in flight until `count` are done, or so many a second."""

    name: str
    count: int
    in_flight: int = 0
    rate: float = 0.0
    processes: int = 1

    def told(self, first: int) -> dict[str, float]:
        """Return what each of the processes is told; the first one begins at this cart."""
        if self.rate:
            return {"first": first, "rate": self.rate, "seconds": self.count / self.rate}
        share = self.in_flight // self.processes
        return {"first": first, "count": self.count // self.processes, "in_flight": share}


class Peer:
    """A peer's processes, which run the loads that they are told."""

    def __init__(self, plan: PeerPlan, server: EmbeddedPostgres, database: str, *, settled: bool) -> None:
        self._dsn = dsn_of(server, database)
        self._counters = DatabaseCounters(server)
        self._settled = settled
        self._bought = 0
        self._workers: list[subprocess.Popen[str]] = []
        self.settings: Mapping[str, str] = {}
        for _ in range(plan.processes):  # one after the other: the first makes the tables
            self._workers.append(_start(plan.module, self._dsn))
            self.settings = _hear(self._workers[-1])["settings"]
        pids = {f"peer {n}": worker.pid for n, worker in enumerate(self._workers, 1)}
        self._cpu = CpuMeter({"postgres": server.process.pid, **pids})

    def run(self, load: Load) -> tuple[Run, Usage]:
        """Run one load; return it with what the server and the peer did meanwhile."""
        before = self._counters.read(settled=self._settled)
        self._cpu.start()
        run = self.carry_out(load)
        self._cpu.stop()
        after = self._counters.read(settled=self._settled)
        return run, self._counters.between(before, after, self._cpu)

    def carry_out(self, load: Load) -> Run:
        """Run one load without counting anything else."""
        workers = self._workers[: load.processes]
        for worker in workers:
            told = load.told(self._bought)
            self._bought += load.count // load.processes
            _tell(worker, told)
        heard = [_hear(worker) for worker in workers]
        latencies_ms = [each for one in heard for each in one["latencies_ms"]]
        return Run(latencies_ms=latencies_ms).ended(max(one["seconds"] for one in heard))

    def close(self) -> None:
        """End the processes and check their books."""
        for worker in self._workers:
            _pipe(worker.stdin).close()
        codes = [worker.wait(60) for worker in self._workers]
        assert not any(codes), f"the peer ended with {codes}"
        check_books(self._dsn, self._bought)

    def kill(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait()


def _start(module: str, dsn: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.peers.{module}_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "BENCH_DSN": dsn},
        cwd=Path(__file__).parents[2],
    )


def _tell(worker: subprocess.Popen[str], told: Mapping[str, float]) -> None:
    pipe = _pipe(worker.stdin)
    pipe.write(json.dumps(told) + "\n")
    pipe.flush()


def _hear(worker: subprocess.Popen[str]) -> dict[str, Any]:
    line = _pipe(worker.stdout).readline()
    assert line, f"the peer ended with {worker.wait()}"
    heard: dict[str, Any] = json.loads(line)
    return heard


@contextmanager
def peer(name: str, server: EmbeddedPostgres, carts: int, *, settled: bool) -> Iterator[Peer]:
    """Start a peer on a database with full carts; its books are checked when the block ends well."""
    plan = PEERS[name]
    database = f"peer_{plan.module}"
    server.ensure_database(database)
    create_business_tables(dsn_of(server, database), carts)
    running = Peer(plan, server, database, settled=settled)
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
