"""A ledger for each test of this room."""

from pathlib import Path

import pytest
from tests.unit.payment_provider.books import Books


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path / "ledger.sqlite")
