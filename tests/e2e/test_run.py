"""`holdfast run` as a newcomer types it: real orders, a table, books that balance, nothing left behind."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.eventually import eventually

from holdfast.local import process_table, processes
from holdfast.local.layout import NotRunning
from holdfast.local.platform import PlatformInfo, find

ORDERS = 1_059
RUN_S = 600
"""Ten seconds on a machine of one's own; a busy one is nobody's fault."""

pytestmark = pytest.mark.timeout(RUN_S + 60)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder on which the command is typed twice."""
    return tmp_path_factory.mktemp("run") / "data"


def test_the_sample_ends_in_a_table_and_nothing_is_left(data: Path) -> None:
    said, told = _run(data)
    rows = [line.split() for line in said.splitlines() if line.strip()]
    figures = {tuple(words[:-1]): words[-1] for words in rows}
    assert ["rows", "read", "20,328", "1,059", "clean", "invoices"] in rows
    completed, failed = (int(figures[name,].replace(",", "")) for name in ("completed", "failed"))
    assert completed + failed == ORDERS
    reasons = {words[1]: int(words[0]) for words in rows if words[1] in {"out_of_stock", "payment_declined"}}
    assert len(reasons) == 2, "some stock runs out and some cards decline, so that undoing is seen"
    assert sum(reasons.values()) == failed
    assert {"checkouts/s", "p50", "p99"} <= {words[0] for words in rows}
    assert rows[-1] == ["books", "balance"]
    assert f"Refused rows: 851, listed in {data / 'rejects.csv'}" in told


def test_on_the_same_folder_it_goes_on_with_what_is_there(data: Path) -> None:
    said, _ = _run(data, "--json", "--stock", "1000000", "--decline", "0%")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    assert found["states"] == {"COMPLETED": ORDERS}
    assert found["books"] == {"exit_code": 0, "violations": [], "quiet": []}


def _run(data: Path, *options: str) -> tuple[str, str]:
    """Run the command to its end, which must be a good one; see its processes, and see them gone."""
    command = [sys.executable, "-m", "holdfast.cli.main", "run", "--data", str(data), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        info = _info(data, process)
        assert len(_processes_of(data)) > len(process_table.NAMES)
        said, told = process.communicate(timeout=RUN_S)
    finally:
        process.kill()  # its processes end with it
        process.wait()
    assert process.returncode == 0, told
    assert _processes_of(data) == {}
    ports = [info.postgres.port, *(each.port for each in info.services.values())]
    assert [port for port in ports if not processes.is_free(port)] == []
    return said, told


def _info(data: Path, process: "subprocess.Popen[str]") -> PlatformInfo:
    """Wait until the platform says where its processes are."""
    found: list[PlatformInfo] = []

    def there() -> bool:
        assert process.poll() is None, process.communicate()
        with suppress(NotRunning):
            found.append(find(data))
        return bool(found)

    eventually(there, "the platform is described", 120)
    return found[-1]


def _processes_of(data: Path) -> dict[int, str]:
    """Every process but this one whose command line, environment or folder names this data folder."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or is not ours
            words = (folder / "cmdline").read_bytes()
            known_by = [words, (folder / "environ").read_bytes(), bytes((folder / "cwd").readlink())]
            if any(str(data).encode() in each for each in known_by):
                found[int(folder.name)] = words.replace(b"\0", b" ").decode()
    return found
