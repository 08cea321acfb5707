"""What one checkout alone costs: commits, round trips, fsyncs, WAL and processor time, by process.

Checkouts come one after the other, so that nothing is shared by a batch; what an idle platform does in the
same time is taken off. These are counts: they hardly depend on what else the machine does.
"""

import asyncio
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.database_counters import PlatformMeter, Usage
from benchmarks.shop import Shop
from benchmarks.wire_counter import WireCounter, WireCounts

from holdfast import audit
from holdfast.local import process_table
from holdfast.local.platform import Platform
from holdfast.local.session import Target, drive

WARM_UP = 5
LEAST = 0.1  # of a statement, to be worth a line


@dataclass(frozen=True)
class WireUsage:
    """What was asked of the server, by role; statements by role and first line."""

    round_trips: Mapping[str, float]
    commits: Mapping[str, float]
    statements: Mapping[tuple[str, str], float]

    def statements_of(self, role: str) -> float:
        return sum(count for (who, _), count in self.statements.items() if who == role)

    @property
    def round_trips_all(self) -> float:
        return sum(self.round_trips.values())

    @property
    def commits_all(self) -> float:
        return sum(self.commits.values())

    @property
    def statements_all(self) -> float:
        return sum(self.statements.values())


@dataclass(frozen=True)
class CheckoutCost:
    """The mean cost of one checkout; and what an idle platform does in a second."""

    checkouts: int
    usage: Usage
    wire: WireUsage
    idle: Usage
    idle_wire: WireUsage


_Measured = tuple[Usage, WireCounts, float]
"""By the server, by the wire, in so many seconds."""


class _Window:
    """Counts between two moments, of the server and of the wire."""

    def __init__(self, meter: PlatformMeter, wire: WireCounter, *, settled: bool) -> None:
        self._meter, self._wire, self._settled = meter, wire, settled
        self._before = WireCounts()
        self._began = 0.0

    def start(self, *, settled: bool) -> None:
        self._meter.start(settled=settled)
        self._before, self._began = self._wire.counts(), time.monotonic()

    def stop(self) -> _Measured:
        usage = self._meter.stop(settled=self._settled)
        return usage, self._wire.counts().since(self._before), time.monotonic() - self._began


def measure(
    folder: Path, checkouts: int = 20, idle_s: float = 20.0, lines: int = 3, *, settled: bool = True
) -> CheckoutCost:
    """Start a platform on the PostgreSQL bus in this folder, measure it idle and at work, audit its books.

    Without `settled` the server's own statistics may miss what was done last; the wire's are exact.
    """
    with WireCounter() as wire, _platform(folder, wire) as platform:
        platform.wait_ready(120)
        idle, busy = drive(_measure(platform, wire, checkouts, idle_s, lines, settled))
        books = audit.run(platform.folder.root, 60)
    assert books.exit_code == 0, f"the books do not balance: {books.violations or books.exit_code}"
    (usage, asked, seconds), (idle_usage, idle_asked, idle_seconds) = busy, idle
    return CheckoutCost(
        checkouts,
        usage.per(checkouts, idle_usage),
        _per(asked, checkouts, idle_asked, seconds / idle_seconds),
        idle_usage.per_second(),
        _per(idle_asked, idle_seconds),
    )


async def _measure(
    platform: Platform, wire: WireCounter, checkouts: int, idle_s: float, lines: int, settled: bool
) -> tuple[_Measured, _Measured]:
    """Return what was counted while nobody asked anything, and during the checkouts."""
    shop = Shop(Target.of(platform.info), lines)
    try:
        await shop.load()
        await shop.fill(WARM_UP + checkouts)
        await shop.closed_load(WARM_UP, 1)
        window = _Window(PlatformMeter(platform), wire, settled=settled)
        await asyncio.to_thread(window.start, settled=settled)
        await asyncio.sleep(idle_s)
        idle = await asyncio.to_thread(window.stop)
        await asyncio.to_thread(window.start, settled=False)  # it has just settled
        await shop.closed_load(checkouts, 1)
        return idle, await asyncio.to_thread(window.stop)
    finally:
        await shop.close()


def _platform(folder: Path, wire: WireCounter) -> Platform:
    def rows(plan: process_table.ProcessPlan) -> list[process_table.ProcessRow]:
        direct = plan.dsn
        return process_table.processes(
            plan._replace(dsn=lambda database, role: wire.dsn(direct(database, role)))
        )

    return Platform(folder / "data", rows=rows)


def _per(counts: WireCounts, count: float, idle: WireCounts | None = None, share: float = 0.0) -> WireUsage:
    nothing = idle or WireCounts()
    roles = counts.round_trips.keys() | counts.commits.keys()
    return WireUsage(
        {role: (counts.round_trips[role] - share * nothing.round_trips[role]) / count for role in roles},
        {role: (counts.commits[role] - share * nothing.commits[role]) / count for role in roles},
        {
            each: (value - share * nothing.statements[each]) / count
            for each, value in counts.statements.items()
        },
    )


def describe(title: str, usage: Usage, wire: WireUsage) -> str:
    """Return what was counted as text: the sums, then by role with its statements, most first."""
    wal = "unknown" if usage.wal_bytes is None else f"{usage.wal_bytes:,.0f}"
    asked = f"{wire.round_trips_all:.1f} round trips, {wire.statements_all:.1f} statements"
    written = f"{usage.fsyncs:.1f} fsyncs, {wal} bytes of WAL without images, {usage.wal_records:.0f} records"
    lines = [
        title,
        f"  by the wire: {wire.commits_all:.1f} commits, {asked}",
        f"  by the server: {usage.commits_all:.1f} commits, {written}",
        *(f"  {name:28} {1000 * cpu_s:8.2f} ms CPU" for name, cpu_s in usage.cpu_s.items()),
    ]
    for role, round_trips in sorted(wire.round_trips.items(), key=lambda each: -each[1]):
        lines.append(f"  {role:28} {wire.commits[role]:8.2f} commits {round_trips:8.2f} round trips")
        mine = [(count, line) for (who, line), count in wire.statements.items() if who == role]
        lines += [
            f"      {count:8.2f}  {line}" for count, line in sorted(mine, reverse=True) if count > LEAST
        ]
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cost = measure(Path(folder))
    print(describe("one checkout", cost.usage, cost.wire))
    print(describe("a second of an idle platform", cost.idle, cost.idle_wire))


if __name__ == "__main__":
    main()
