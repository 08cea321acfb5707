"""The paths in a data folder (`--data DIR`), and the lock that shows whether a platform runs there.

The modules that write the files define their contents.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Self


class NotRunning(Exception):
    """No platform is running on this data folder."""


class NotOurs(NotRunning):
    """The folder belongs to another user: whether a platform runs there cannot be read."""


class FolderInUse(Exception):
    """Another platform is running on this data folder."""


class DataFolder:
    """The files of one platform. Making the object touches nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.cluster = self.root / "postgres"
        self.passwords = self.root / "passwords"
        self.ledger = self.root / "provider" / "ledger.sqlite"
        self.keys = self.root / "keys"
        self.logs = self.root / "logs"
        self.platform = self.root / "platform.json"
        self.bus = self.root / "bus"  # the kind of bus that this folder's sagas travel on
        self.lock = self.root / "lock"

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.root, self.ledger.parent, self.keys, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


class FolderLock:
    """Held by the supervisor of a data folder as long as it lives; the file says its pid."""

    def __init__(self, folder: DataFolder, patience_s: float = 1.0) -> None:
        """Lock it, or raise FolderInUse; wait a moment for a process that only reads, or is just ending."""
        self._descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + patience_s
        while not _try_lock(self._descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                pid = os.read(self._descriptor, 32).decode()
                os.close(self._descriptor)
                raise FolderInUse(f"a platform (pid {pid}) is running on {folder.root}")
            time.sleep(0.02)
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, str(os.getpid()).encode())

    def release(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def holder(folder: DataFolder) -> int | None:
    """Return the pid of the supervisor that runs on this folder, or None; raises NotOurs."""
    try:
        descriptor = os.open(folder.lock, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise NotOurs(f"{folder.root} belongs to another user: ask as that user") from None
    try:
        if _try_lock(descriptor, fcntl.LOCK_SH):
            return None
        return int(os.read(descriptor, 32) or 0) or None
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
