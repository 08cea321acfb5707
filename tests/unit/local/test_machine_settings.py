"""The embedded server's settings follow the machine, and durability is not among them."""

from pathlib import Path

import pytest

from holdfast.local import postgres

GIB = 1024**3


@pytest.mark.parametrize(
    ("memory_gib", "shared_buffers", "wal_buffers"),
    [(0.5, "128MB", "8MB"), (4, "512MB", "32MB"), (64, "1024MB", "64MB")],
)
def test_buffers_scale_with_memory_between_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_gib: float, shared_buffers: str, wal_buffers: str
) -> None:
    monkeypatch.setattr(postgres, "_memory_bytes", lambda: int(memory_gib * GIB))
    settings = postgres.machine_settings(tmp_path)
    assert (settings["shared_buffers"], settings["wal_buffers"]) == (shared_buffers, wal_buffers)


def test_nothing_makes_it_less_durable(tmp_path: Path) -> None:
    settings = postgres.machine_settings(tmp_path)
    assert not {"fsync", "synchronous_commit", "full_page_writes"} & settings.keys()
