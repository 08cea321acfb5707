"""A world of its own for every test of the audit."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.databases import in_schemas
from tests.world import World


@pytest.fixture
def world(database: str, tmp_path: Path) -> Iterator[World]:
    """Books of a platform, all empty."""
    world = World(in_schemas(database), tmp_path / "provider" / "ledger.sqlite")
    yield world
    world.close()
