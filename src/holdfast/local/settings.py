"""Reads the environment of a platform on this machine; no other module of this folder reads it.

process_table.py has the environment of the services.
"""

import os
from pathlib import Path

POSTGRES_BIN = "HOLDFAST_POSTGRES_BIN"


def inherited() -> dict[str, str]:
    """Return this process's environment without libpq's variables, which would change what a DSN says."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def postgres_bin() -> Path | None:
    """Return the folder of the PostgreSQL programs to use instead of those that come with Holdfast."""
    given = os.environ.get(POSTGRES_BIN)
    return Path(given) if given else None
