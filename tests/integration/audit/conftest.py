"""A world of its own for every test of the audit."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.books_harness import BooksHarness
from tests.databases import in_schemas


@pytest.fixture
def world(database: str, tmp_path: Path) -> Iterator[BooksHarness]:
    """Books of a platform, all empty."""
    world = BooksHarness(in_schemas(database), tmp_path / "provider" / "ledger.sqlite")
    yield world
    world.close()
