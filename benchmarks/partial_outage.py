"""How much later checkouts end while the provider fails some payments for ever: a ratio of latencies.

    python -m benchmarks.partial_outage [--rate 20] [--seconds 20] [--shares 0.1 0.3 0.6]

The same platform is measured without failing payments and with each share of them, which fail by their card:
at once (an error) or slowly (no answer). Ends with 1 if the others' p99 is three times what it was, and
immediately if one of them is undone. Wall times of a shared machine differ; their ratio says what waits for
what.
"""

import argparse
import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.load import Run, due_times
from benchmarks.shop import PATIENCE_S, Shop
from rich.console import Console
from rich.table import Table

from holdfast.local.api_client import ApiClient
from holdfast.local.keys import Keys
from holdfast.local.platform import Platform
from holdfast.local.process_table import PROVIDER
from holdfast.local.session import Target, drive

FAILING_CARD = "pm_card_mastercard"
RATIO_MAX = 3.0
TROUBLES: dict[str, dict[str, object]] = {
    "error": {"do": "error_heals"},
    "no answer": {"do": "timeout_before", "ms": 60_000},
}


@dataclass(frozen=True)
class Case:
    """One measured load: how much of it fails, and how."""

    share: float
    trouble: str
    run: Run


class MixedShop(Shop):
    """Shoppers of whom some pay with the card that fails; only the others are measured."""

    async def mixed_loop(self, rate: float, seconds: float, share: float) -> tuple[Run, list[str]]:
        """Begin `rate` checkouts a second; return what was measured, and the sagas of those that fail."""
        run, failing, rng = Run(), list[str](), Random(1)
        loop = asyncio.get_running_loop()
        started = loop.time()

        async def unlucky() -> None:
            failing.append(await self.begin(FAILING_CARD))

        async def lucky(due: float) -> None:
            assert await self.end(await self.begin()) == "COMPLETED"
            run.latencies_ms.append((loop.time() - due) * 1000)

        async with asyncio.TaskGroup() as group:
            for due in due_times(started, rate, seconds):
                await asyncio.sleep(max(0.0, due - loop.time()))
                group.create_task(unlucky() if rng.random() < share else lucky(due))
        return run.ended(loop.time() - started), failing


async def measure(platform: Platform, arguments: argparse.Namespace) -> list[Case]:
    """Measure without failing payments, then with each share of them."""
    shop = MixedShop(Target.of(platform.info), 1)
    provider = ApiClient(platform.info.services[PROVIDER].url)
    key = Keys(platform.info.folder.keys).provider.read_text().strip()

    async def rules(*rules: dict[str, object]) -> None:
        until = asyncio.get_running_loop().time() + PATIENCE_S
        await provider.ask("PUT", "/admin/behaviour", key, until, body={"rules": list(rules)})

    wanted = [(0.0, "none")] + [(share, trouble) for trouble in TROUBLES for share in arguments.shares]
    cases = []
    try:
        await shop.load()
        await shop.fill(200 + len(wanted) * int(arguments.rate * arguments.seconds))
        await shop.closed_load(200, 20)  # warm-up
        for share, trouble in wanted:
            if share:
                await rules({"operation": "charge", "payment_method": FAILING_CARD, **TROUBLES[trouble]})
            run, failing = await shop.mixed_loop(arguments.rate, arguments.seconds, share)
            cases.append(Case(share, trouble, run))
            await rules()
            await asyncio.gather(*(shop.end(saga_id) for saga_id in failing))
    finally:
        await provider.close()
        await shop.close()
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.partial_outage", description=__doc__)
    parser.add_argument("--rate", type=float, default=20.0, help="checkouts a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.3, 0.6])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Platform(Path(folder) / "data") as platform:
        platform.wait_ready(120)
        cases = drive(measure(platform, arguments))
    raise SystemExit(report(cases))


def report(cases: list[Case]) -> int:
    """Print the table; return 1 where others waited too long."""
    calm_ms = cases[0].run.percentile(0.99)
    table = Table(title="Checkouts beside payments that fail for ever")
    for heading in ("failing", "how", "others", "p50 ms", "p99 ms", "ratio of p99"):
        table.add_column(heading, justify="right")
    ratios = [case.run.percentile(0.99) / calm_ms for case in cases]
    for case, ratio in zip(cases, ratios, strict=True):
        table.add_row(
            f"{case.share:.0%}",
            case.trouble,
            f"{len(case.run.latencies_ms):,}",
            f"{case.run.percentile(0.5):.0f}",
            f"{case.run.percentile(0.99):.0f}",
            f"{ratio:.2f}",
        )
    Console().print(table)
    return int(max(ratios) >= RATIO_MAX)


if __name__ == "__main__":
    main()
