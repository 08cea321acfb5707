"""A platform in which each process can be given one crash point, at which it crashes once."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.conftest import ENVIRONMENT, PENS, replay_histories
from tests.e2e.shopper import Operator
from tests.eventually import eventually

from holdfast.local import process_table
from holdfast.local.platform import Platform
from holdfast.local.supervisor import DELAY_MIN_S

# Leases are short, so that what a killed process held is soon free; deadlines, so that some fire. Asking is
# seldom: a slow machine would do nothing else.
QUICKLY = {
    "HOLDFAST_ASK_EVERY_MS": "10000",
    "HOLDFAST_BUS_LEASE_S": "1.5",
    "HOLDFAST_DEADLINE_RESEND_AFTER_MS": "500",
    "HOLDFAST_PROVIDER_TIMEOUT_S": "3",
    "HOLDFAST_CLAIM_LEASE_MS": "5000",
}
PATIENCE_S = 120.0


class Armed:
    """Tells the process of a service that starts next where to crash; one that is running keeps its word."""

    def __init__(self, folder: Path) -> None:
        self._told: dict[str, dict[str, str]] = {}
        self.platform = Platform(folder, environment=ENVIRONMENT | QUICKLY, rows=self._rows)

    def arm(self, service: str, point: str | None) -> None:
        """Arm the next process of this service, or no longer."""
        self._told[service].pop("HOLDFAST_CRASH_AT", None)
        if point is not None:
            self._told[service]["HOLDFAST_CRASH_AT"] = point

    def crash(self, service: str, point: str, provoke: Callable[[], None] = lambda: None) -> None:
        """Wait until a process of this service has crashed there; `provoke` is called once one is armed.

        Only a process that starts from now on is armed. One that crashed says so in its log as it goes.
        """
        program = self.platform._supervisor.programs[service]
        told, before = self._told_of(service, point), program.process
        self.arm(service, point)

        def crashed() -> bool:
            program.delay_s = DELAY_MIN_S
            return self._told_of(service, point) > told

        try:
            if before.poll() is None:
                before.send_signal(signal.SIGTERM)
            eventually(lambda: program.process is not before, f"{service} is started again", PATIENCE_S)
            provoke()
            eventually(crashed, f"{service} crashes at {point}", PATIENCE_S)
        finally:
            self.arm(service, None)

    def _told_of(self, service: str, point: str) -> int:
        log = self.platform.folder.log(service).read_text("utf-8", "replace")
        return log.count(f"crash point {point} reached")

    def _rows(self, plan: process_table.ProcessPlan) -> Sequence[process_table.ProcessRow]:
        rows = [row._replace(env=dict(row.env)) for row in process_table.processes(plan)]
        self._told = {row.name: row.env for row in rows if isinstance(row.env, dict)}
        return rows


@contextmanager
def armed(folder: Path) -> Iterator[Armed]:
    """Start such a platform with stock; no process is armed yet."""
    it = Armed(folder)
    with it.platform as platform:
        platform.wait_ready(90)
        Operator(platform.info).stock(PENS)
        yield it
        replay_histories(platform)
