"""The environment that the platform's processes inherit. The one place of this room that reads it."""

import os


def inherited() -> dict[str, str]:
    """Return this process's environment without libpq's variables, which would change what a DSN says."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
