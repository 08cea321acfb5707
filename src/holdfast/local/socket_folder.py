"""The folder of the bus's datagram sockets: short, because a Unix socket's path has at most 107 bytes.

It lies outside the data folder, whose path may be long.
"""

import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "holdfast-"
_PATH_MAX = 40  # leaves room for the sockets' names
_SHORT = Path("/tmp")  # noqa: S108 - mkdtemp makes a private folder in it


def make() -> Path:
    """Make a private folder with a short path."""
    parent = Path(tempfile.gettempdir())
    return Path(
        tempfile.mkdtemp(prefix=_PREFIX, dir=parent if len(os.fsencode(parent)) <= _PATH_MAX else _SHORT)
    )


def remove(folder: Path) -> None:
    """Remove a folder that `make` made; do nothing if it does not exist or does not look like one."""
    looks_right = folder.name.startswith(_PREFIX) and not folder.is_symlink() and folder.is_dir()
    if looks_right and folder.stat().st_uid == os.geteuid():
        shutil.rmtree(folder)
