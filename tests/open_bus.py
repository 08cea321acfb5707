"""A PostgreSQL bus whose own role may do everything: for tests that are not about who may do what.

What it may is written into the bus's tables like anybody's rights; nothing lets it pass by them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from holdfast.bus.port import RebalanceListener
from holdfast.bus.postgres.bus import PostgresBus
from holdfast.bus.postgres.consumer import PostgresConsumer

SOURCE = "test"
"""What its messages are stamped with."""


class OpenBus(PostgresBus):
    """Writes what it creates, and reads it in any group; `owner` is a DSN that is never cut off."""

    proves_sources = False  # all that it carries is stamped `test`, whoever said it

    def __init__(
        self, dsn: str, wakeup_folder: Path | None = None, *, owner: str | None = None, **more: Any
    ) -> None:
        super().__init__(dsn, wakeup_folder, **more)
        self._owner = owner or dsn
        self._groups: set[str] = set()

    def create_topics(self, topics: Sequence[str], partitions: int) -> None:
        super().create_topics(topics, partitions)
        self._allow()

    def consumer(
        self, group: str, topics: Sequence[str], assignment: RebalanceListener | None = None
    ) -> PostgresConsumer:
        self._groups.add(group)
        self._allow()
        return super().consumer(group, topics, assignment)

    def _allow(self) -> None:
        with psycopg.connect(self._owner, autocommit=True) as connection:
            if connection.execute("select to_regclass('readers') is null").fetchone() == (True,):
                return
            connection.execute(
                "insert into writers (role, topic, source) select session_user, topic, %s from topics "
                "on conflict do nothing",
                [SOURCE],
            )
            connection.execute(
                "insert into readers (role, topic, group_name) select session_user, topic, g "
                "from topics, unnest(%s::text[]) as g on conflict do nothing",
                [list(self._groups)],
            )
