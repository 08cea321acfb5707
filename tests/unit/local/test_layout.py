"""A data folder has at most one platform, and anybody can tell which."""

import os
from pathlib import Path

import pytest

from holdfast.local.layout import DataFolder, FolderInUse, FolderLock, NotRunning, holder


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    return folder


def test_the_second_is_refused_and_told_who_is_first(folder: DataFolder) -> None:
    with FolderLock(folder), pytest.raises(FolderInUse, match=f"pid {os.getpid()}"):
        FolderLock(folder, patience_s=0.0)
    FolderLock(folder, patience_s=0.0).release()


def test_the_holder_is_known_only_while_it_holds(folder: DataFolder) -> None:
    assert holder(folder) is None
    with FolderLock(folder):
        assert holder(folder) == os.getpid()
    assert holder(folder) is None


def test_what_a_killed_holder_wrote_means_nothing(folder: DataFolder) -> None:
    folder.lock.write_text("4711")
    assert holder(folder) is None


def test_nobody_else_may_look_into_the_folder(folder: DataFolder) -> None:
    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert folder.keys.stat().st_mode & 0o777 == 0o700


def test_somebody_elses_folder_is_named_as_such(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(NotRunning, match="belongs to another user"):
        holder(folder)
