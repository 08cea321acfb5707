"""A whole Holdfast to measure: on either bus, with the provider simulator or one inside payment-gateway."""

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.database_counters import PlatformMeter, Usage
from benchmarks.load import Run
from benchmarks.payment_in_process import LEDGER

from holdfast import audit
from holdfast.contracts.topics import PAYMENT
from holdfast.local import process_table
from holdfast.local.api_client import ApiClient
from holdfast.local.kafka import LocalKafka
from holdfast.local.keys import Keys
from holdfast.local.platform import Platform
from holdfast.local.process_table import PROVIDER

BUSES = ("PostgreSQL", "Kafka")
AUDIT_S = 300.0
_NO_RESEND = {"HOLDFAST_RESEND_AFTER_MS": "3600000"}
"""Checkouts that are written before their load begins must not be started by the gateway's own resender."""


@dataclass
class Measured:
    """A running platform, and the meter of what it does. `settled`: figures wait for late statistics."""

    platform: Platform
    bus: str
    bootstrap: str | None
    meter: PlatformMeter
    settled: bool

    @property
    def settings(self) -> dict[str, str]:
        return {"bus": self.bus, "processes": "one a service", "PostgreSQL": "as `holdfast up` starts it"}

    async def measure(self, load: Awaitable[Run]) -> tuple[Run, Usage]:
        """Run this load; return it with all that the platform did meanwhile."""
        await asyncio.to_thread(self.meter.start, settled=self.settled)
        run = await load
        return run, await asyncio.to_thread(self.meter.stop, settled=self.settled)

    def audit(self) -> None:
        """Fail loudly unless the books balance."""
        books = audit.run(self.platform.folder.root, AUDIT_S)
        assert books.exit_code == 0, f"the books do not balance: {books.violations or books.quiet}"

    async def provider_answers_in(self, ms: int) -> None:
        """Let the provider simulator take so long for each charge."""
        provider = ApiClient(self.platform.info.services[PROVIDER].url)
        key = Keys(self.platform.info.folder.keys).provider.read_text().strip()
        rules = [{"operation": "charge", "do": "latency", "ms": ms}] if ms else []
        until = asyncio.get_running_loop().time() + 30
        answer = await provider.ask("PUT", "/admin/behaviour", key, until, body={"rules": rules})
        assert answer.status < 300, answer
        await provider.close()


@contextmanager
def holdfast(bus: str, *, in_process_provider: bool = False, settled: bool = True) -> Iterator[Measured]:
    """Start a platform in a temporary folder; its books are audited when the block ends well."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        kafka = stack.enter_context(LocalKafka(folder / "kafka")) if bus == "Kafka" else None
        bootstrap = kafka.bootstrap if kafka else None
        platform = stack.enter_context(
            Platform(
                folder / "data",
                kafka=bootstrap,
                environment=_NO_RESEND,
                rows=_in_process_rows if in_process_provider else process_table.processes,
            )
        )
        platform.wait_ready(120)
        pids = {"kafka": kafka.pid()} if kafka else {}
        measured = Measured(platform, bus, bootstrap, PlatformMeter(platform, pids), settled)
        yield measured
        measured.audit()


def _in_process_rows(plan: process_table.ProcessPlan) -> list[process_table.ProcessRow]:
    """Return the platform's processes with the benchmark's payment-gateway and without the simulator."""
    program = str(Path(__file__).with_name("payment_in_process.py"))
    rows = {row.name: row for row in process_table.processes(plan) if row.name != PROVIDER}
    payment = rows[PAYMENT]
    env = {**payment.env, LEDGER: str(plan.folder.ledger)}
    rows[PAYMENT] = payment._replace(command=(sys.executable, "-P", program), env=env)
    return list(rows.values())
