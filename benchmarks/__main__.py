"""Checkouts a second from HTTP to COMPLETED, and their latency at a fixed rate, all on this machine.

    python -m benchmarks [--checkouts 8000] [--lines 3] [--concurrency 320] [--rate 100] [--seconds 20]

Embedded PostgreSQL with fsync and synchronous_commit on, PostgreSQL as the bus, the provider simulator with
its durable ledger, and the load generator: all on the same cores. Carts are filled before the clock starts.
"""

import argparse
import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import CpuMeter
from rich.console import Console
from rich.table import Table

from holdfast import audit
from holdfast.local.api_client import ApiClient
from holdfast.local.catalogue import load_prices, load_stock
from holdfast.local.platform import Platform
from holdfast.local.session import Target, drive

SKUS = 2_000
PATIENCE_S = 300.0


@dataclass
class Run:
    """One measured load. Latency: POST sent to COMPLETED seen, in milliseconds, ascending."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        return self.latencies_ms[min(len(self.latencies_ms) - 1, int(len(self.latencies_ms) * share))]


class Shop:
    """Shoppers with full carts at one gateway."""

    def __init__(self, target: Target, lines: int) -> None:
        self._target = target
        self._lines = lines
        self._token = target.keys.token("bench")
        self._gateway = ApiClient(target.gateway, timeout_s=60)
        self._carts: asyncio.Queue[str] = asyncio.Queue()
        self._filled = 0

    async def load(self) -> None:
        operator = self._target.keys.token("bench", operator=True)
        prices = {f"sku-{n:04}": 100 + n for n in range(SKUS)}
        assert self._target.cart
        assert self._target.inventory
        cart, inventory = ApiClient(self._target.cart), ApiClient(self._target.inventory)
        await load_prices(cart, operator, prices, "GBP", PATIENCE_S)
        await load_stock(inventory, operator, prices, 10**9, PATIENCE_S, only_new=False)
        await cart.close()
        await inventory.close()

    async def fill(self, carts: int, side_by_side: int = 32) -> None:
        """Fill carts with `lines` different codes each."""
        names = iter(range(self._filled, self._filled + carts))
        self._filled += carts

        async def some() -> None:
            for n in names:
                lines = [
                    {"sku": f"sku-{(n * 17 + i * 31) % SKUS:04}", "quantity": 1 + i % 3}
                    for i in range(self._lines)
                ]
                response = await self._gateway.ask(
                    "PUT", f"/v1/carts/bench-{n}", self._token, _until(), body={"lines": lines}
                )
                assert response.status < 300, response
                self._carts.put_nowait(f"bench-{n}")

        await asyncio.gather(*(some() for _ in range(side_by_side)))

    async def closed_loop(self, checkouts: int, concurrency: int) -> Run:
        """Keep `concurrency` checkouts under way until all are done."""
        run, turns = Run(), iter(range(checkouts))

        async def shopper() -> None:
            for _ in turns:
                run.latencies_ms.append(await self._buy())

        started = time.perf_counter()
        await asyncio.gather(*(shopper() for _ in range(concurrency)))
        return self._ended(run, started)

    async def open_loop(self, rate: float, seconds: float) -> Run:
        """Begin `rate` checkouts a second, come what may."""
        run = Run()

        async def shopper(due: float) -> None:
            late_ms = (asyncio.get_running_loop().time() - due) * 1000
            run.latencies_ms.append(await self._buy() + max(0.0, late_ms))

        started = time.perf_counter()
        begin = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for n in range(int(rate * seconds)):
                due = begin + n / rate
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
                group.create_task(shopper(due))
        return self._ended(run, started)

    async def close(self) -> None:
        await self._gateway.close()

    async def begin(self, card: str = "pm_card_visa") -> str:
        """Start the checkout of a full cart and return its saga."""
        name = self._carts.get_nowait()
        body = {"cart_id": name, "payment_method": card}
        response = await self._gateway.ask(
            "POST", "/v1/checkouts", self._token, _until(), body=body, headers={"idempotency-key": name}
        )
        assert response.status == 202, response
        return str(response.json()["saga_id"])

    async def end(self, saga_id: str) -> None:
        """Wait until a checkout is completed; none may fail."""
        state = ""
        while state != "COMPLETED":
            response = await self._gateway.ask(
                "GET",
                f"/v1/checkouts/{saga_id}",
                self._token,
                _until(),
                headers={"prefer": "wait=30"},
                held_s=30,
            )
            state = response.json()["state"]
            assert state != "FAILED", response

    async def _buy(self) -> float:
        started = time.perf_counter()
        await self.end(await self.begin())
        return (time.perf_counter() - started) * 1000

    def _ended(self, run: Run, started: float) -> Run:
        run.seconds = time.perf_counter() - started
        run.latencies_ms.sort()
        return run


def _until() -> float:
    return asyncio.get_running_loop().time() + PATIENCE_S


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
