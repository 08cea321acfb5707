"""Looking at processes by pid, and a platform of stand-ins as its own process."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.eventually import eventually

from holdfast.local import process_table
from holdfast.local.info import PlatformInfo
from holdfast.local.platform import Platform

STANDIN = Path(__file__).with_name("standin.py")


def rows(plan: process_table.ProcessPlan) -> list[process_table.ProcessRow]:
    """The real process table with a stand-in for every program."""
    return [
        process_table.ProcessRow(
            row.name,
            (sys.executable, "-I", "-S", str(STANDIN)),
            {"STANDIN": row.name, "STANDIN_PORT": str(plan.ops_ports.get(row.name, plan.ports[row.name]))},
        )
        for row in process_table.processes(plan)
    ]


def alive(pid: int) -> bool:
    """Say whether this process runs; one that ended and was not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def children(pid: int) -> list[int]:
    """The processes that this one started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return found


def pids(info: PlatformInfo) -> list[int]:
    """Every process of a platform but its supervisor, PostgreSQL's own children included."""
    postmaster = info.postgres.pid
    return [postmaster, *children(postmaster), *(each.pid for each in info.services.values())]


def all_gone(those: Sequence[int], timeout_s: float = 15.0) -> None:
    eventually(lambda: not any(map(alive, those)), f"processes end: {those}", timeout_s)


class OwnProcess:
    """`holdfast up` with stand-ins, in a process of its own."""

    def __init__(self, data: Path, port: int, **environment: str) -> None:
        self.output = data.parent / f"{data.name}.out"
        code = (
            "from tests.integration.local.programs import keep_up_standins as keep_up\n"
            f"keep_up({str(data)!r}, {port})"
        )
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdout=output,
                stderr=output,
                cwd=Path(__file__).parents[3],
                env=os.environ | environment,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def wait_for(self, words: str) -> None:
        def there() -> bool:
            assert self.process.poll() is None or words in self.said, self.said
            return words in self.said

        eventually(there, f"{words!r} in the output")

    def end(self, *signals: signal.Signals, timeout_s: float = 15.0) -> int:
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)


def keep_up_standins(data: str, port: int) -> None:
    """What OwnProcess runs."""
    from holdfast.cli.platform import keep_up
    from holdfast.cli.terminal import note

    keep_up(Platform(Path(data), gateway_port=port, rows=rows, say=note), Path(data))
