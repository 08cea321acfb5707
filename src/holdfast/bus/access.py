"""Who may write and who may read which topic, as every bus is told it by its owner.

Which services there are is not known here; how a bus enforces the table is that bus's.
"""

from typing import NamedTuple


class Access(NamedTuple):
    """`principal` is the name that logs in; `service` what its messages are stamped with, and its group."""

    principal: str
    service: str
    topic: str


class AccessTable(NamedTuple):
    """Everything that is allowed; the rest is refused."""

    writers: tuple[Access, ...]
    readers: tuple[Access, ...]

    @property
    def principals(self) -> tuple[str, ...]:
        """Every principal once, sorted."""
        return tuple(sorted({access.principal for access in (*self.writers, *self.readers)}))
