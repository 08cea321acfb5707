"""Reads the environment of a platform on this machine; no other module of this folder reads it.

process_table.py has the environment of the services.
"""

import os
import re
from pathlib import Path

POSTGRES_BIN = "HOLDFAST_POSTGRES_BIN"
PORTS = "HOLDFAST_PORTS"
# Below the range from which kernels give ports to outgoing connections: such a port could be in use by one
# of those just when a program that died wants it back.
_PORTS = range(20_000, 32_768)


def inherited() -> dict[str, str]:
    """Return this process's environment without libpq's variables, which would change what a DSN says."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def postgres_bin() -> Path | None:
    """Return the folder of the PostgreSQL programs to use instead of those that come with Holdfast."""
    given = os.environ.get(POSTGRES_BIN)
    return Path(given) if given else None


def ports() -> range:
    """Return the ports from which servers of this machine draw theirs. Raises ValueError."""
    given = os.environ.get(PORTS)
    if given is None:
        return _PORTS
    match = re.fullmatch(r"(\d{4,5})-(\d{4,5})", given)
    if match is None or not 1024 <= int(match[1]) <= int(match[2]) <= 65_535:
        raise ValueError(f"{PORTS}: write FIRST-LAST, of ports from 1024 to 65535, instead of {given!r}")
    return range(int(match[1]), int(match[2]) + 1)
