"""The passwords of a PostgreSQL server's roles: one private file for each role, in libpq's own format.

A DSN names the file (`passfile=`), so that no password is in a command line, an environment or a log.
"""

import secrets
from pathlib import Path
from urllib.parse import quote

from holdfast.local.processes import HOST


class Passwords:
    """The files of one folder; `ensure` makes what is missing and never replaces one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def path(self, role: str) -> Path:
        """Return the passfile of a role."""
        return self.folder / f"{role}.pgpass"

    def ensure(self, role: str) -> bool:
        """Make a password for this role unless it has one; return whether it is new."""
        path = self.path(role)
        if path.exists():
            return False
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, f"*:*:*:{role}:{secrets.token_urlsafe(32)}\n")
        return True

    def read(self, role: str) -> str:
        """Return a role's password."""
        return self.path(role).read_text().strip().rpartition(":")[2]

    def dsn(self, port: int, database: str, role: str) -> str:
        """Return the DSN of a database of the server on this port, for this role."""
        passfile = quote(str(self.path(role)), safe="/")
        return f"postgresql://{role}@{HOST}:{port}/{database}?passfile={passfile}"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; it gets its name only once it is complete."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.rename(path)
