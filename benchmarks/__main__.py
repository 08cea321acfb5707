"""Checkouts a second from HTTP to COMPLETED, and their latency at a fixed rate, all on this machine.

    python -m benchmarks [--checkouts 8000] [--lines 3] [--concurrency 320] [--rate 100] [--seconds 20]

Embedded PostgreSQL with fsync and synchronous_commit on, PostgreSQL as the bus, the provider simulator with
its durable ledger, and the load generator: all on the same cores. Carts are filled before the clock starts.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.load import Run
from benchmarks.processes import CpuMeter
from benchmarks.shop import Shop
from rich.console import Console
from rich.table import Table

from holdfast import audit
from holdfast.local.platform import Platform
from holdfast.local.session import Target, drive


async def measure(target: Target, arguments: argparse.Namespace, meter: CpuMeter) -> tuple[Run, Run]:
    shop = Shop(target, arguments.lines)
    try:
        await shop.load()
        await shop.fill(500 + arguments.checkouts + int(arguments.rate * arguments.seconds))
        await shop.closed_loop(500, arguments.concurrency)  # warm-up
        meter.start()
        throughput = await shop.closed_loop(arguments.checkouts, arguments.concurrency)
        meter.stop()
        latency = await shop.open_loop(arguments.rate, arguments.seconds)
    finally:
        await shop.close()
    return throughput, latency


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--checkouts", type=int, default=8_000)
    parser.add_argument("--lines", type=int, default=3, help="lines per cart")
    parser.add_argument("--concurrency", type=int, default=320)
    parser.add_argument("--rate", type=float, default=100.0, help="a second, for the latency")
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Platform(Path(folder) / "data") as platform:
        platform.wait_ready(120)
        meter = CpuMeter({process.name: process.pid for process in platform.processes()})
        throughput, latency = drive(measure(Target.of(platform.info), arguments, meter))
        books = audit.run(platform.folder.root, 60)
    report(arguments, throughput, latency, meter)
    print("books:", "balance" if books.exit_code == 0 else books.violations or books.exit_code)
    raise SystemExit(books.exit_code)


def report(arguments: argparse.Namespace, throughput: Run, latency: Run, meter: CpuMeter) -> None:
    console = Console()
    table = Table(title=f"Checkouts from HTTP to COMPLETED, {arguments.lines} lines per cart")
    for heading in ("load", "checkouts", "per s", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="left" if heading == "load" else "right")
    for name, run in (
        (f"closed, {arguments.concurrency} at once", throughput),
        (f"open, {arguments.rate:g}/s", latency),
    ):
        count = len(run.latencies_ms)
        table.add_row(
            name,
            f"{count:,}",
            f"{count / run.seconds:.0f}",
            f"{run.percentile(0.5):.0f}",
            f"{run.percentile(0.99):.0f}",
        )
    console.print(table)
    cpu = Table(title="CPU per checkout under the closed load")
    cpu.add_column("process")
    cpu.add_column("ms", justify="right")
    for name, seconds in sorted(meter.seconds.items(), key=lambda each: -each[1]):
        cpu.add_row(name, f"{seconds * 1000 / len(throughput.latencies_ms):.2f}")
    console.print(cpu)


if __name__ == "__main__":
    main()
