"""CPU time of processes and their children, from /proc: what a load costs, and where."""

import os
import time
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class CpuMeter:
    """CPU seconds by name between `start` and `stop`; a process's children count as its own."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = {**pids, "load generator": os.getpid()}
        self._begun: dict[str, float] = {}
        self._begun_at = 0.0
        self.seconds: dict[str, float] = {}
        self.elapsed_s = 0.0

    def start(self) -> None:
        self._begun, self._begun_at = self._read(), time.monotonic()

    def stop(self) -> None:
        self.elapsed_s = time.monotonic() - self._begun_at
        self.seconds = {name: now - self._begun[name] for name, now in self._read().items()}

    def _read(self) -> dict[str, float]:
        own, parents = _all_processes()
        known = set(self._pids.values())
        total = dict.fromkeys(self._pids, 0.0)
        for name, pid in self._pids.items():
            family = [
                pid,
                *(child for child, parent in parents.items() if parent == pid and child not in known),
            ]
            total[name] = sum(own.get(member, 0.0) for member in family)
        return total


def _all_processes() -> tuple[dict[int, float], dict[int, int]]:
    own: dict[int, float] = {}
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(folder.name)
        parents[pid] = int(fields[1])
        # With those of children that ended and were waited for: PostgreSQL's sessions come and go.
        own[pid] = sum(int(field) for field in fields[11:15]) * _TICK_S
    return own, parents
