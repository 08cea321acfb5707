"""A service's database as a value, and its real code run on one.

Counters and records of the past are left out of the value: no service decides by them.
"""

from collections.abc import Callable
from typing import Any, Protocol

from holdfast.bus.memory import MemoryBus
from holdfast.bus.port import Message, Record
from holdfast.contracts.topics import TOPICS, all_topics
from holdfast.messaging.components import Components, Ports
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.memory_store import MemoryStore, MemoryTables
from holdfast.messaging.store import TimerRow
from holdfast.messaging.timers import RESOLVE
from holdfast.saga.state import Verb
from holdfast.simulation.faults import Switch
from holdfast.simulation.process import BUILDS, TRANSACTIONS
from holdfast.simulation.provider import SimProvider
from holdfast.simulation.setup import START_MS, Setup

LEFT_OUT = frozenset(
    (
        "outbox",
        "leases",
        "starts",
        "saga_event",
        "saga_ignored",
        "saga_ignored_seen",
        "operator_actions",
        "changed",
    )
)
"""Tables that no decision reads: the outbox is a part of the move, the rest tells of the past or of times."""

HEADERS_LEFT_OUT = frozenset(("ce_causationid", "ce_attempt"))
"""Headers that no service reads: who caused a message and how often it was sent are for people."""

FIRED_MAX = 2

Database = tuple[tuple[str, tuple[tuple[Any, Any], ...]], ...]


def freeze(tables: dict[str, dict[Any, Any]]) -> Database:
    """Return what a database holds as a value; databases that behave alike are equal."""
    return tuple(
        (name, _rows(name, tables[name])) for name in sorted(tables) if tables[name] and name not in LEFT_OUT
    )


def thaw(database: Database) -> MemoryTables:
    """Return tables that hold what `database` says."""
    tables = MemoryTables()
    tables.tables = {name: dict(rows) for name, rows in database}
    return tables


def _rows(name: str, rows: dict[Any, Any]) -> tuple[tuple[Any, Any], ...]:
    """Leave out times (a search asks what happens in any order, not when) and counts (versions, firings)."""
    if name == "timers":
        return tuple(
            (
                key,
                row._replace(
                    since_ms=START_MS,
                    due_ms=START_MS,
                    fired=_fired(row),
                    outbox_id=0,
                    end_offset=0,
                ),
            )
            for key, row in sorted(rows.items())
        )
    if name == "saga":
        return tuple((key, row._replace(version=1, stalled_ms=0)) for key, row in sorted(rows.items()))
    if name == "saga_event_id":  # the firings of a deadline are numbered without end
        return tuple((key, 0) for key in sorted(rows) if ":deadline:" not in key[1])
    return tuple(sorted(rows.items(), key=lambda item: item[0]))


def _fired(row: TimerRow) -> int:
    """Count firings as far as something reads the count.

    An undo that is overdue is sent again like any other, and an alarm is raised (`stalled_ms`): it may always
    be overdue. A call asks whether it is the first.
    """
    if row.kind == RESOLVE:
        return min(row.fired, 1)
    return FIRED_MAX if row.key.verb == Verb.UNDO else min(row.fired, FIRED_MAX)


def plain(message: Message) -> Message:
    """Return the message without headers that no service reads, so that equal ones have one number."""
    kept = tuple(header for header in message.headers if header[0] not in HEADERS_LEFT_OUT)
    return message._replace(headers=kept)


def _source(message: Message) -> str | None:
    """Return the service that sealed it: here each message comes unchanged from its outbox."""
    return dict(message.headers).get("ce_source", b"").decode() or None


class RealHarness:
    """A service's own `build`, on whatever database is put in place."""

    def __init__(self, service: str, setup: Setup) -> None:
        self.service = service
        self._now_ms = START_MS
        self._store: MemoryStore[Any] = MemoryStore(TRANSACTIONS[service], lambda: self._now_ms)
        bus = MemoryBus(lambda: 0.0)
        bus.create_topics(all_topics(), 1)
        ports = Ports[Any](self._store, bus, lambda: 0, f"{service}-1", 1)
        self.parts: Components[Any] = BUILDS[service](ports, setup, SimProvider(Switch()), lambda: 0)

    def run(
        self, before: MemoryTables, work: Callable[[], object], now_ms: int = START_MS
    ) -> tuple[MemoryTables, tuple[Message, ...]]:
        """Run `work`, which commits; return the tables and the messages it appended to the outbox.

        Dead letters are left out: no service reads them, and what was parked is a finding of its own.
        """
        self._store.tables = before
        self._now_ms = now_ms
        work()
        batches = before.tables.get("outbox", {})
        sent = (message for _, batch in batches.values() for message in batch)
        return before, tuple(plain(message) for message in sent if message.topic in TOPICS)

    def consume(self, before: MemoryTables, batch: list[Message]) -> tuple[MemoryTables, tuple[Message, ...]]:
        """Run the batch processor on these messages, as records."""
        records = [
            Record(m.topic, 0, offset, m.key, m.value, m.headers, START_MS, _source(m))
            for offset, m in enumerate(batch)
        ]
        return self.run(before, lambda: self.parts.processor.run(records))

    def commit(self, work: Callable[[Any], HandlerResult]) -> None:
        self.parts.processor.commit(work)


class Harness(Protocol):
    """What a service model runs: the real code of one service, on any database."""

    def run(
        self, before: MemoryTables, work: Callable[[], object], now_ms: int = START_MS
    ) -> tuple[MemoryTables, tuple[Any, ...]]:
        """Let `work` commit what it does; return the tables and what was sent."""

    def consume(self, before: MemoryTables, batch: list[Any]) -> tuple[MemoryTables, tuple[Any, ...]]:
        """Let the service handle these messages in one transaction."""

    def commit(self, work: Callable[[Any], HandlerResult]) -> None:
        """Run one transaction, inside `run`."""


class WriterModel:
    """What a periodic task sees of the writer: it owns all partitions, and a commit is a transaction."""

    def __init__(self, harness: Harness) -> None:
        self.commit = harness.commit

    def partitions(self) -> frozenset[int]:
        return frozenset({0})
