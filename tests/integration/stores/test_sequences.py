"""Enough sequences are drawn over all stores together, and a test that runs too few of its own fails."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.stores.store_pairs import SEQUENCES, StorePair, sequences

from holdfast.messaging.database import PostgresTransaction
from holdfast.messaging.memory_store import MemoryTransaction

WANTED = 2_000


def test_at_least_two_thousand_sequences_are_drawn_over_all_stores() -> None:
    texts = [path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*_stores.py")]
    assert len(texts) >= 5
    assert all("@sequences\n@given(" in text for text in texts)
    assert sum(text.count("@sequences\n@given(") for text in texts) * SEQUENCES >= WANTED


def test_a_test_that_runs_fewer_than_promised_fails(database: str) -> None:
    store_pair = StorePair(database, "", PostgresTransaction, MemoryTransaction)

    @sequences
    @given(number=st.integers(0, 2))  # exhausted after three
    def few(store_pair: Any, number: int) -> None:
        store_pair.reset()

    with pytest.raises(AssertionError):
        few(store_pair=store_pair)
    assert 0 < store_pair.sequences < SEQUENCES
    store_pair.close()
