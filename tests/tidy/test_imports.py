"""Who may import what: the layers of import-linter, and which outside module belongs to which room."""

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from tests.tidy.sources import ROOT, SRC, imports, python_files, tree_of

# A module of the outside world -> the files that may import it.
HOMES: dict[str, tuple[str, ...]] = {
    "psycopg": (
        "messaging/pipeline.py",
        "bus/postgres/*.py",
        "messaging/database*.py",
        "messaging/postgres_store.py",
        "messaging/arrays.py",  # the one way in which lists travel to PostgreSQL
        "runtime/migrations.py",
        "services/*/store.py",
        "audit/*",
        "local/*",
    ),
    "confluent_kafka": ("bus/kafka/*.py",),
    "fastapi": (
        "services/*/api.py",
        "runtime/health_api.py",
        "runtime/dead_letters_api.py",
        "runtime/problems.py",
        "runtime/openapi.py",  # what a service serves, on which port
        "runtime/process.py",  # serves whatever application a service gives it
        "payment_provider/*",
        "console/*",
    ),
    "sqlite3": ("payment_provider/*", "audit/*"),
    "pybreaker": ("messaging/breaker.py",),
    "typer": ("cli/*",),
}

# Rooms that must give the same result whenever, wherever and however often they run.
PURE = (
    "contracts/*",
    "saga/*",
    "sagas/*",
    "services/*/domain.py",
    "messaging/backoff.py",
    "messaging/fence.py",
)
# Rooms that the simulator runs: their time and their chance come through ports alone.
SIMULATED = (
    *PURE,
    "bus/memory.py",
    "bus/membership.py",
    "bus/leases.py",
    "messaging/*",
    "services/*/handlers.py",
    "services/gateway_bff/status_handler.py",
    "services/checkout_orchestrator/checkout_service.py",
    "services/*/memory_store.py",
    "services/*/charging.py",
)
CHANCE = {"time", "random", "datetime", "secrets", "asyncio", "uuid.uuid1", "uuid.uuid4", "uuid.uuid7"}
OUTSIDE = {"socket", "threading", "subprocess", "os", "httpx2", "psycopg", "confluent_kafka"}
MAY = {
    "messaging/breaker.py": {"time"},  # the default of its clock, which a simulator replaces
    "messaging/postgres_store.py": {"time"},  # real sessions alone, which no simulator has
    "messaging/pipeline.py": {"time"},
}


def places(patterns: tuple[str, ...]) -> list[Path]:
    """Return the files of our source that match one of the patterns."""
    return [path for path in python_files(SRC) if any(fnmatch(_place(path), each) for each in patterns)]


def _place(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def _imports_of(path: Path, modules: set[str]) -> set[str]:
    """Return which of these modules a file imports, or anything below them."""
    found = imports(path)
    return {m for m in modules if any(name == m or name.startswith(f"{m}.") for name in found)}


@pytest.mark.parametrize("module", HOMES)
def test_each_outside_module_stays_in_its_home(module: str) -> None:
    homes = places(HOMES[module])
    used = [path for path in python_files(SRC) if _imports_of(path, {module})]
    assert used, "a rule about nothing proves nothing"
    assert [_place(path) for path in used if path not in homes] == []


def test_the_pure_rooms_know_neither_time_nor_chance_nor_the_world() -> None:
    paths = places(PURE)
    assert len(paths) > 15
    found = {_place(path): _imports_of(path, CHANCE | OUTSIDE) for path in paths}
    assert {place: names for place, names in found.items() if names} == {}


def test_what_the_simulator_runs_has_its_time_and_chance_from_ports() -> None:
    found = {
        _place(path): _imports_of(path, CHANCE) - MAY.get(_place(path), set()) for path in places(SIMULATED)
    }
    assert {place: names for place, names in found.items() if names} == {}


def test_the_environment_is_read_in_settings_alone() -> None:
    readers = [
        _place(path)
        for path in python_files(SRC)
        if _imports_of(path, {"os.environ", "os.getenv"}) or _reads_environment(path)
    ]
    assert [place for place in readers if not place.endswith("settings.py")] == []


def _reads_environment(path: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in ("environ", "environb", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        for node in ast.walk(tree_of(path))
    )


def test_the_payment_provider_is_a_stranger() -> None:
    found = {
        name
        for path in python_files(SRC / "payment_provider")
        for name in imports(path)
        if name.startswith("holdfast.") and not name.startswith("holdfast.payment_provider")
    }
    assert {name for name in found if not name.startswith("holdfast.http_server")} <= {"holdfast.__version__"}


def test_the_http_server_knows_nothing_of_ours() -> None:
    found = {
        name
        for path in python_files(SRC / "http_server")
        for name in imports(path)
        if name.startswith("holdfast") and not name.startswith("holdfast.http_server")
    }
    assert found == set()


@pytest.mark.parametrize("room", ["saga", "contracts"])
def test_the_engine_and_the_contracts_import_nothing_of_ours(room: str) -> None:
    found = {
        name for path in python_files(SRC / room) for name in imports(path) if name.startswith("holdfast")
    }
    assert {name for name in found if not f"{name}.".startswith(f"holdfast.{room}.")} == set()


def test_the_layers_hold() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
