"""The folder of the datagram sockets."""

import tempfile
from pathlib import Path

import pytest

from holdfast.local import socket_folder


def test_the_path_is_short_and_private_even_where_the_temporary_folders_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = socket_folder.make()
    try:
        assert len(str(folder)) < 60
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        socket_folder.remove(folder)
    assert not folder.exists()


def test_only_a_folder_that_looks_right_is_removed(tmp_path: Path) -> None:
    other = tmp_path / "precious"
    other.mkdir()
    link = tmp_path / "holdfast-link"
    link.symlink_to(other)
    for folder in (other, link, tmp_path / "holdfast-gone"):
        socket_folder.remove(folder)
    assert other.is_dir()
    assert link.is_symlink()
