"""The folder of a PostgreSQL cluster: its owner, its lock, and how it is made.

postgres.py knows ports and running servers.
"""

import fcntl
import os
import pwd
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from holdfast.local import processes
from holdfast.local.binaries import bin_folder, major_version
from holdfast.local.passwords import Passwords
from holdfast.local.processes import LaunchFailed, UserAccount

SUPERUSER = "postgres"
CLEAN_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class PostgresFailed(LaunchFailed):
    """The embedded server could not be made or started; its text has PostgreSQL's own message."""


class AlreadyRunning(PostgresFailed):
    """A server is running on this data folder."""


class Cluster:
    """A data folder, made if it is missing, and locked through an open descriptor.

    The server and all its processes inherit the descriptor: while one of them lives, the folder is locked.
    The server also reaches the folder through it, as /proc/self/fd/N: so an unprivileged user can use a
    folder below one that only root enters.
    """

    def __init__(self, folder: Path, passwords: Passwords, patience_s: float) -> None:
        """Lock the folder; wait at most `patience_s` for a server that is just stopping on it.

        A new cluster has one role, the superuser, and accepts nobody without its password.
        """
        self.folder = folder.absolute()
        self.passwords = passwords
        self.account = _account(self.folder)
        self.programs = bin_folder(self.account)
        self.descriptor = _create(self, patience_s) if _is_empty(self) else _continue(self.folder, patience_s)

    @property
    def path(self) -> str:
        """The folder as a program that inherited the descriptor can reach it."""
        return _path(self.folder, self.descriptor)

    def close(self) -> None:
        """Close this process's descriptor; the server keeps its own."""
        os.close(self.descriptor)

    def initdb(self, path: str, descriptor: int) -> None:
        """Run initdb, which gets the password in a file without a name. Raises PostgresFailed."""
        with tempfile.TemporaryFile() as password:
            self.passwords.ensure(SUPERUSER)
            password.write(self.passwords.read(SUPERUSER).encode())
            password.flush()
            if self.account is not None:
                os.fchown(password.fileno(), *self.account)
            password.seek(0)
            options = ["-D", path, "--auth=scram-sha-256", f"--pwfile=/dev/fd/{password.fileno()}"]
            result = processes.run(
                [self.programs / "initdb", *options, "-U", SUPERUSER, "-E", "utf8", "--locale=C"],
                account=self.account,
                env=CLEAN_ENVIRONMENT,
                pass_fds=[descriptor, password.fileno()],
            )
        if result.returncode != 0:
            raise PostgresFailed(f"initdb of {self.folder} failed: {result.stderr.strip()}")


def _path(folder: Path, descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}" if sys.platform == "linux" else str(folder)


def _account(folder: Path) -> UserAccount | None:
    """Return the user to run as if this one is root, which PostgreSQL refuses: the owner, or `nobody`."""
    if os.geteuid() != 0:
        return None
    if (folder / "PG_VERSION").exists():
        owner = folder.stat()
        return UserAccount(owner.st_uid, owner.st_gid)
    nobody = pwd.getpwnam("nobody")
    return UserAccount(nobody.pw_uid, nobody.pw_gid)


def _is_empty(cluster: Cluster) -> bool:
    """Tell whether there is no cluster yet; raises PostgresFailed if the folder holds something else."""
    folder = cluster.folder
    if not folder.exists() or not any(folder.iterdir()):
        return True
    version = folder / "PG_VERSION"
    if not version.exists():
        raise PostgresFailed(f"{folder} is neither empty nor a PostgreSQL data folder")
    found = version.read_text().strip()
    major = major_version(cluster.programs)
    if found != major:
        raise PostgresFailed(f"{folder} is of PostgreSQL {found}; this is PostgreSQL {major}")
    passfile = cluster.passwords.path(SUPERUSER)
    if not passfile.exists():
        raise PostgresFailed(
            f"{folder} was made without passwords, or has lost them: there is no {passfile}; "
            "choose another folder, or put the file back"
        )
    return False


def _hold(folder: Path, patience_s: float) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise AlreadyRunning(f"a PostgreSQL server is running on {folder}") from None
            time.sleep(0.05)
        else:
            return descriptor


def _continue(folder: Path, patience_s: float) -> int:
    descriptor = _hold(folder, patience_s)
    try:
        _forget_dead_server(folder)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _create(cluster: Cluster, patience_s: float) -> int:
    """Make the cluster beside its folder and then rename it, so that a half-made one never has its name."""
    unfinished = cluster.folder.with_name(cluster.folder.name + ".unfinished")
    unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = _hold(unfinished, patience_s)
    try:
        _fill(cluster, unfinished, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _fill(cluster: Cluster, unfinished: Path, descriptor: int) -> None:
    if not _is_empty(cluster):
        raise AlreadyRunning(f"another process has just made {cluster.folder}")
    for leftover in unfinished.iterdir():
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    if cluster.account is not None:
        os.chown(unfinished, *cluster.account)
    cluster.initdb(_path(unfinished, descriptor), descriptor)
    unfinished.rename(cluster.folder)


def _forget_dead_server(folder: Path) -> None:
    """Remove the pid file that a killed server left: its pid may be another program's by now."""
    pid_file = folder / "postmaster.pid"
    if sys.platform != "linux" or not pid_file.exists():
        return
    pid = pid_file.read_text().split("\n", 1)[0]
    try:
        somebody_elses = not Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:
        somebody_elses = True
    if not somebody_elses:  # started by hand, hence without our lock
        raise AlreadyRunning(f"a PostgreSQL server (pid {pid}) is running on {folder}")
    pid_file.unlink()
