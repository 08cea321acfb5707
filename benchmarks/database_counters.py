"""What a PostgreSQL server has done between two moments: commits, fsyncs, WAL, and processor time by process.

Sessions hand their statistics over at the end of a transaction, once a second at most, or when they have been
idle for ten seconds; `read` can wait for that. The position in the WAL is exact at any time, and pg_waldump
tells full-page images, which depend on the last checkpoint, from the rest. wire_counter.py has what must be
exact: round trips, and statements by role.
"""

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from benchmarks.processes import CpuMeter

from holdfast.local.binaries import bin_folder
from holdfast.local.platform import Platform
from holdfast.local.postgres import EmbeddedPostgres

FLUSHED_AFTER_S = 10.5
"""PostgreSQL's PGSTAT_IDLE_INTERVAL, compiled in, and a margin: the latest that a session hands over."""

WALDUMP_MAX_BYTES = 4 * 1024**3

_COMMITS = """
    select d.datname, s.xact_commit, s.xact_rollback
    from pg_stat_database s join pg_database d on d.oid = s.datid where not d.datistemplate
"""
_WAL = """
    select wal_records, wal_fpi, wal_bytes::bigint, pg_current_wal_flush_lsn()::text,
           pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint
    from pg_stat_wal
"""
_FSYNCS_18 = "select coalesce(sum(fsyncs), 0)::bigint from pg_stat_io where object = 'wal'"
_FSYNCS_15 = "select wal_sync from pg_stat_wal"


@dataclass(frozen=True)
class Counters:
    """The server's counters at one moment, since it was made. `lsn` is where the WAL ends on the disk."""

    at: float
    commits: Mapping[str, int]
    rollbacks: int
    fsyncs: int
    wal_records: int
    full_page_images: int
    lsn: str
    lsn_bytes: int


@dataclass(frozen=True)
class Usage:
    """What was done between two moments; `wal_bytes` without full-page images is None if it is not known."""

    seconds: float
    commits: Mapping[str, float]
    rollbacks: float
    fsyncs: float
    wal_records: float
    wal_bytes_all: float
    wal_bytes: float | None
    cpu_seconds: float = 0.0
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    """Processor time by process, in `cpu_seconds`: shorter than `seconds`, which wait for late statistics."""

    @property
    def commits_all(self) -> float:
        return sum(self.commits.values())

    def per_second(self) -> "Usage":
        """Return what was done in a second; processor time in a second of its own window."""
        usage = self.per(self.seconds)
        cpu = {name: value / self.cpu_seconds for name, value in self.cpu_s.items()} if self.cpu_s else {}
        return replace(usage, cpu_seconds=1.0, cpu_s=cpu)

    def per(self, count: float, idle: "Usage | None" = None) -> "Usage":
        """Return the share of each of `count` things, less what an idle platform does in the same time."""
        nothing = idle or self
        share = 0.0 if idle is None else self.seconds / idle.seconds
        cpu_share = 0.0 if idle is None else self.cpu_seconds / idle.cpu_seconds

        def each(mine: float, its: float, share: float = share) -> float:
            return (mine - share * its) / count

        known = self.wal_bytes is not None and nothing.wal_bytes is not None
        return Usage(
            self.seconds / count,
            {name: each(value, nothing.commits.get(name, 0)) for name, value in self.commits.items()},
            each(self.rollbacks, nothing.rollbacks),
            each(self.fsyncs, nothing.fsyncs),
            each(self.wal_records, nothing.wal_records),
            each(self.wal_bytes_all, nothing.wal_bytes_all),
            each(self.wal_bytes or 0, nothing.wal_bytes or 0) if known else None,
            self.cpu_seconds / count,
            {name: each(value, nothing.cpu_s.get(name, 0), cpu_share) for name, value in self.cpu_s.items()},
        )


class DatabaseCounters:
    """Reads one server's counters, as its superuser; the reader's own transactions are in `postgres`."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server

    def read(self, *, settled: bool = True) -> Counters:
        """Return the counters now; `settled` first waits until sessions have handed over what they did."""
        if settled:
            time.sleep(FLUSHED_AFTER_S)
        with psycopg.connect(self._server.dsn("postgres"), autocommit=True) as session:
            fsyncs = _FSYNCS_18 if session.info.server_version >= 180000 else _FSYNCS_15
            rows = session.execute(_COMMITS).fetchall()
            wal = session.execute(_WAL).fetchone()
            synced = session.execute(fsyncs).fetchone()
        assert wal
        assert synced
        return Counters(
            time.monotonic(),
            {name: commits for name, commits, _ in rows if name != "postgres"},
            sum(rollbacks for _, _, rollbacks in rows),
            synced[0],
            wal[0],
            wal[1],
            wal[3],
            wal[4],
        )

    def between(self, before: Counters, after: Counters, cpu: CpuMeter | None = None) -> Usage:
        """Return what was done in between, with the processor time that was measured meanwhile."""
        total = after.lsn_bytes - before.lsn_bytes
        return Usage(
            after.at - before.at,
            {name: commits - before.commits.get(name, 0) for name, commits in after.commits.items()},
            after.rollbacks - before.rollbacks,
            after.fsyncs - before.fsyncs,
            after.wal_records - before.wal_records,
            total,
            None if total > WALDUMP_MAX_BYTES else self._bytes_without_images(before.lsn, after.lsn),
            cpu.elapsed_s if cpu else 0.0,
            cpu.seconds if cpu else {},
        )

    def _bytes_without_images(self, start: str, end: str) -> float | None:
        """Return the size of the records in this part of the WAL; None if a part of it is recycled."""
        if start == end:
            return 0
        program = bin_folder(None) / "pg_waldump"
        folder = self._server.data_dir / "pg_wal"
        command: list[str | Path] = [
            program,
            "--stats",
            "--path",
            folder,
            "--start",
            start,
            "--end",
            end,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        totals = [line.split() for line in done.stdout.splitlines() if line.startswith("Total")]
        if done.returncode or not totals:
            raise RuntimeError(
                f"pg_waldump failed from {start} to {end}: {done.returncode} {done.stderr}{done.stdout}"
            )
        return int(totals[0][2])


class PlatformMeter:
    """Counts what a platform does between `start` and `stop`, its processes' processor time included."""

    def __init__(self, platform: Platform, more_pids: Mapping[str, int] | None = None) -> None:
        self.database = DatabaseCounters(platform.postgres)
        pids = {process.name: process.pid for process in platform.processes()}
        self._cpu = CpuMeter({**pids, **(more_pids or {})})
        self._before: Counters | None = None

    def start(self, *, settled: bool = True) -> None:
        self._before = self.database.read(settled=settled)
        self._cpu.start()

    def stop(self, *, settled: bool = True) -> Usage:
        """Processor time is read at once; the rest once the sessions have handed it over."""
        assert self._before, "not started"
        self._cpu.stop()
        after = self.database.read(settled=settled)
        return self.database.between(self._before, after, self._cpu)

    def idle(self, seconds: float) -> Usage:
        """Measure the platform while nobody asks anything of it."""
        self.start()
        time.sleep(seconds)
        return self.stop()
