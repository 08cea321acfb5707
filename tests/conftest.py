"""Fixtures that any test may use; those of one room live in its own conftest."""

import os
import uuid
from collections.abc import Iterator

import pytest

from holdfast.local.postgres import EmbeddedPostgres


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL 18 server of this test session (or xdist worker) alone."""
    folder = tmp_path_factory.mktemp("postgres")
    settings = {"shared_buffers": "128MB", "max_wal_size": "1GB"}
    with EmbeddedPostgres(folder / "cluster", settings=settings) as server:
        yield server


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a fresh, empty database, dropped afterwards."""
    name = f"test_{os.getpid()}_{uuid.uuid4().hex[:12]}"
    postgres.ensure_database(name)
    yield postgres.dsn(name)
    postgres.drop_database(name)
