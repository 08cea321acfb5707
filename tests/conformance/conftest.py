"""The buses that the suite runs on: a fixture each, and one that is each of them in turn."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.harness import Harness
from tests.conformance.kafka_harness import KafkaHarness
from tests.conformance.memory_harness import MemoryHarness
from tests.conformance.postgres_harness import PostgresHarness
from tests.kafka import SESSION_TIMEOUT_MS


@pytest.fixture
def memory_harness() -> MemoryHarness:
    return MemoryHarness()


@pytest.fixture
def postgres_harness(database: str) -> Iterator[PostgresHarness]:
    """Wake-ups by datagrams; the folder's path must be short, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as wakeup_folder:
        harness = PostgresHarness(database, Path(wakeup_folder))
        yield harness
        harness.close()


@pytest.fixture
def postgres_notify_harness(database: str) -> Iterator[PostgresHarness]:
    """Wake-ups by LISTEN/NOTIFY."""
    harness = PostgresHarness(database, None)
    yield harness
    harness.close()


@pytest.fixture
def kafka_harness(kafka_bootstrap: str) -> Iterator[KafkaHarness]:
    harness = KafkaHarness(kafka_bootstrap, SESSION_TIMEOUT_MS / 1000)
    yield harness
    harness.close()


@pytest.fixture(params=["memory", "postgres", "postgres_notify", "kafka"])
def harness(request: pytest.FixtureRequest) -> Harness:
    chosen: Harness = request.getfixturevalue(f"{request.param}_harness")
    return chosen
