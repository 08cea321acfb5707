"""Fixtures that any test may use; those of one room live in its own conftest."""

import os
import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from tests.kafka import kafka_broker

from holdfast.local.postgres import EmbeddedPostgres

# A busy machine is nobody's fault: no test is judged by the time that it takes.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Workers that run side by side draw their servers' ports from ranges of their own.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    width = 12_000 // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    first = 20_000 + width * int(worker.removeprefix("gw"))
    os.environ["HOLDFAST_PORTS"] = f"{first}-{first + width - 1}"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL 18 server of this test session (or xdist worker) alone."""
    folder = tmp_path_factory.mktemp("postgres")
    settings = {"shared_buffers": "128MB", "max_wal_size": "1GB"}
    with EmbeddedPostgres(folder / "cluster", settings=settings) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Kafka that all workers share: no test may stop it, each uses its own names."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the workers' own folders are in the session's
    with kafka_broker(folder) as bootstrap:
        yield bootstrap


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a fresh, empty database, dropped afterwards."""
    name = f"test_{os.getpid()}_{uuid.uuid4().hex[:12]}"
    postgres.ensure_database(name)
    yield postgres.dsn(name)
    postgres.drop_database(name)
