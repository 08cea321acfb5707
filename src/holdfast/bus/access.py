"""Which principal may write or read which topic: the table that a bus's owner gives to it.

This module knows no services; each bus enforces the table in its own way.
"""

from typing import NamedTuple


class Access(NamedTuple):
    """One right. `principal` is the login name; `service` is the source of its messages, and its group."""

    principal: str
    service: str
    topic: str


class AccessTable(NamedTuple):
    """Everything that is allowed; all else is refused."""

    writers: tuple[Access, ...]
    readers: tuple[Access, ...]

    @property
    def principals(self) -> tuple[str, ...]:
        """Every principal once, sorted."""
        return tuple(sorted({access.principal for access in (*self.writers, *self.readers)}))
