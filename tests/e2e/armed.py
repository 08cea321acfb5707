"""A platform of whose processes each can be told where to crash, once."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

from tests.e2e.conftest import ENVIRONMENT, PENS
from tests.e2e.shopper import Operator
from tests.eventually import eventually

from holdfast.local import table
from holdfast.local.platform import Platform
from holdfast.local.supervisor import DELAY_MIN_S

# Leases are short, so that what a killed process held is soon free; deadlines, so that some fire.
QUICKLY = {"HOLDFAST_BUS_LEASE_S": "1.5", "HOLDFAST_DEADLINE_RESEND_AFTER_MS": "500"}
PATIENCE_S = 60.0


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

    def running(self, service: str) -> Popen[bytes]:
        """Return the process that runs now."""
        return self.platform._supervisor.programs[service].process

    def next_process(
        self, service: str, process: Popen[bytes], afterwards: str | None = None
    ) -> Popen[bytes]:
        """Wait for the process after this one; the one after that will be armed for `afterwards`."""
        program = self.platform._supervisor.programs[service]
        program.delay_s = DELAY_MIN_S
        eventually(lambda: program.process is not process, f"{service} is started again", PATIENCE_S)
        self.arm(service, afterwards)
        return program.process

    def crashed_at(self, service: str, process: Popen[bytes], point: str, times: int = 1) -> None:
        """Wait until this process has ended; fail where it was not killed there, for the n-th time."""
        eventually(lambda: process.poll() is not None, f"{service} crashes at {point}", PATIENCE_S)
        assert process.returncode == -signal.SIGKILL, f"{service} at {point}"
        log = self.platform.folder.log(service).read_text("utf-8", "replace")
        assert log.count(f"crash point {point} reached") == times

    def _rows(self, plan: table.Plan) -> Sequence[table.Row]:
        rows = [row._replace(env=dict(row.env)) for row in table.processes(plan)]
        self._told = {row.name: row.env for row in rows if isinstance(row.env, dict)}
        return rows


@contextmanager
def armed(folder: Path) -> Iterator[Armed]:
    """Start such a platform, nobody armed yet, with stock."""
    it = Armed(folder)
    with it.platform as platform:
        platform.wait_ready(90)
        Operator(platform.info).stock(PENS)
        yield it
