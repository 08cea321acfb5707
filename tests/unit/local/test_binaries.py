"""Which PostgreSQL programs are used: the wheel's, or those that a setting names."""

from pathlib import Path

import pytest

from holdfast.local.binaries import BinariesUnusable, bin_folder, major_version
from holdfast.local.settings import POSTGRES_BIN


def programs(folder: Path, version: str) -> Path:
    folder.mkdir()
    postgres = folder / "postgres"
    postgres.write_text(f"#!/bin/sh\necho '{version}'\n")
    postgres.chmod(0o755)
    return folder


def test_the_programs_that_the_setting_names_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = programs(tmp_path / "given", "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)")
    monkeypatch.setenv(POSTGRES_BIN, str(given))
    assert bin_folder(None) == given
    assert major_version(given) == "15"


def test_a_setting_that_names_no_programs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POSTGRES_BIN, str(tmp_path))
    with pytest.raises(BinariesUnusable, match=POSTGRES_BIN):
        bin_folder(None)


def test_the_wheels_programs_are_postgresql_18(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(POSTGRES_BIN, raising=False)
    assert major_version(bin_folder(None)) == "18"


def test_programs_that_do_not_say_their_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BinariesUnusable, match="does not say its version"):
        major_version(programs(tmp_path / "odd", "no number"))
