"""The kernel's tables in memory: behaves as `database` does, for the simulator and for fast tests.

A transaction is an overlay on plain dicts: it sees its changes at once, others see them after its commit.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from holdfast.bus.port import Message, TopicPartition
from holdfast.messaging.fence import Fence, FenceState
from holdfast.messaging.ids import uuid7_after
from holdfast.messaging.parked import DeadLetterFilter, LogPosition, ParkedRecord, ParkedSummary, summary
from holdfast.messaging.store import (
    ActionTaken,
    HeldSteps,
    OperatorAction,
    OutboxRow,
    Pruned,
    PrunePage,
    TimerKey,
    TimerRow,
)

CHANGED = "retention_changed"
"""The table of when rows of other tables last changed, by (table, key); only pruning reads it."""

_GONE: Any = object()


class MemoryTables:
    """All tables of one database: from name to a dict of immutable rows. The simulator copies it."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Any, Any]] = {}
        self.sequence = 0


class Overlay(MutableMapping[Any, Any]):
    """One table as one transaction sees it."""

    def __init__(self, base: dict[Any, Any]) -> None:
        self._base = base
        self._changed: dict[Any, Any] = {}

    def __getitem__(self, key: Any) -> Any:
        value = self._changed[key] if key in self._changed else self._base[key]
        if value is _GONE:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        self._changed[key] = value

    def __delitem__(self, key: Any) -> None:
        if key not in self:
            raise KeyError(key)
        self._changed[key] = _GONE

    def __iter__(self) -> Iterator[Any]:
        for key in self._base:
            if self._changed.get(key) is not _GONE:
                yield key
        for key, value in self._changed.items():
            if key not in self._base and value is not _GONE:
                yield key

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        if key in self._changed:
            return self._changed[key] is not _GONE
        return key in self._base

    def commit(self) -> None:
        """Write the changes into the base."""
        for key, value in self._changed.items():
            if value is _GONE:
                self._base.pop(key, None)
            else:
                self._base[key] = value


class MemoryTransaction:
    """The kernel's part of a transaction; `store.Transaction` documents each method."""

    def __init__(self, tables: MemoryTables, now_ms: int) -> None:
        self._all = tables
        self._now_ms = now_ms
        self._overlays: dict[str, Overlay] = {}

    def table(self, name: str) -> Overlay:
        """Return table `name` as this transaction sees it; the first use creates it."""
        if name not in self._overlays:
            self._overlays[name] = Overlay(self._all.tables.setdefault(name, {}))
        return self._overlays[name]

    def commit(self) -> None:
        """Make all changes visible at once."""
        for overlay in self._overlays.values():
            overlay.commit()

    def changed(self, table: str, key: Any) -> None:
        """Note that a row changes now, as the column `changed_at` does."""
        self.table(CHANGED)[table, key] = self._now_ms

    def is_old(self, table: str, key: Any, page: PrunePage) -> bool:
        """Tell whether a row has not changed since the page's time."""
        return bool(self.table(CHANGED)[table, key] <= page.unchanged_since_ms)

    @staticmethod
    def look(keys: Iterable[str], page: PrunePage) -> tuple[list[str], Pruned]:
        """Return the page's keys, and the result of a pruning that deletes none of their rows."""
        looked = sorted(key for key in keys if page.from_id <= key < page.before_id)[: page.limit]
        return looked, Pruned(0, uuid7_after(looked[-1]) if len(looked) == page.limit else "")

    def now_ms(self) -> int:
        return self._now_ms

    def limit_lock_wait(self, wait_ms: int) -> None:
        """Do nothing: there is one transaction at a time, so none waits."""

    def probe_writes(self) -> None:
        """Do nothing: memory takes every write."""

    def append_outbox(self, messages: Sequence[Message]) -> OutboxRow:
        self._all.sequence += 1
        self.table("outbox")[self._all.sequence] = (self._now_ms, tuple(messages))
        return OutboxRow(self._all.sequence)

    def outbox_id(self, row: OutboxRow) -> int:
        return row.id

    def forget_outbox(self, ids: Collection[int]) -> None:
        for row_id in ids:
            self.table("outbox").pop(row_id, None)

    def stale_outbox(
        self, older_than_ms: int, limit: int, left_out: Collection[int] = ()
    ) -> list[tuple[int, list[Message]]]:
        rows = sorted((i, row) for i, row in self.table("outbox").items() if i not in left_out)
        stale = [(i, list(batch)) for i, (at, batch) in rows if abs(self._now_ms - at) >= older_than_ms]
        return stale[:limit]

    def outbox_holds(self, ids: Collection[int]) -> frozenset[int]:
        return frozenset(i for i in ids if i in self.table("outbox"))

    def outbox_age_ms(self, left_out: Collection[int] = ()) -> int:
        rows = self.table("outbox").items()
        return max((abs(self._now_ms - at) for i, (at, _) in rows if i not in left_out), default=0)

    def park(self, rows: Sequence[ParkedRecord]) -> list[ParkedRecord]:
        parked, now = self.table("parked"), self._now_ms
        unique = {row.place: row for row in rows}
        for place, row in unique.items():
            before = parked.get(place, row._replace(attempts=0, first_ms=now))
            is_redriven = before.status == "redriven" and before.outcome is None
            there = row._replace(
                attempts=before.attempts + row.attempts,
                first_ms=before.first_ms,
                last_ms=now,
                status="parked",
                outcome="parked_again" if is_redriven else None,
            )
            parked[place] = there
            unique[place] = row._replace(
                attempts=there.attempts, first_ms=there.first_ms, last_ms=there.last_ms
            )
        return list(unique.values())

    def find_parked(
        self, wanted: DeadLetterFilter, after: LogPosition | None, limit: int
    ) -> list[ParkedSummary]:
        rows = [summary(row) for place, row in self.table("parked").items() if after is None or place > after]
        return sorted(row for row in rows if wanted.takes(row))[:limit]

    def lock_parked(self, places: Collection[LogPosition]) -> list[ParkedRecord]:
        parked = self.table("parked")
        return [parked[place] for place in sorted(set(places)) if place in parked]

    def settle_parked(self, places: Collection[LogPosition], status: str) -> None:
        for row in self.lock_parked(places):
            self.table("parked")[row.place] = row._replace(status=status, outcome=None)

    def redriven_places(self, limit: int) -> list[LogPosition]:
        rows = self.table("parked").values()
        return sorted(row.place for row in rows if row.status == "redriven" and row.outcome is None)[:limit]

    def take_redriven(self, places: Collection[LogPosition]) -> list[ParkedRecord]:
        return [row for row in self.lock_parked(places) if row.status == "redriven" and row.outcome is None]

    def note_processed(self, places: Collection[LogPosition]) -> None:
        for row in self.lock_parked(places):
            if row.status == "redriven":
                self.table("parked")[row.place] = row._replace(outcome="processed")

    def record_actions(self, actions: Sequence[OperatorAction]) -> None:
        log = self.table("operator_actions")
        for action in actions:
            log[len(log)] = (self._now_ms, action)

    def read_actions(self, target: str) -> list[ActionTaken]:
        rows = sorted(self.table("operator_actions").items())
        return [
            ActionTaken(at_ms, action.operator, action.action, action.reason)
            for _, (at_ms, action) in rows
            if action.target == target
        ]

    def lock_fences(self, step: str, saga_ids: Collection[str]) -> dict[str, Fence]:
        fences = self.table("fence")
        return {saga_id: fences[saga_id, step] for saga_id in saga_ids if (saga_id, step) in fences}

    def save_fences(self, step: str, rows: Collection[Fence], unused: Collection[str]) -> None:
        for row in rows:
            self.table("fence")[row.saga_id, step] = row
            self.changed("fence", (row.saga_id, step))

    def held_fences(self, step: str, from_id: str, before_id: str, keys: int, limit: int) -> HeldSteps:
        fences = self.table("fence")
        ids = sorted(saga_id for saga_id, of in fences if of == step and from_id <= saga_id < before_id)
        looked = ids[:keys]
        held = [saga_id for saga_id in looked if fences[saga_id, step].state is FenceState.DONE][:limit]
        if len(held) == limit:
            return HeldSteps(held, held[-1])
        return HeldSteps(held, looked[-1] if len(looked) == keys else "")

    def prune_fences(self, step: str, states: Collection[FenceState], page: PrunePage) -> Pruned:
        fences = self.table("fence")
        looked, pruned = self.look([saga_id for saga_id, of in fences if of == step], page)
        awaited = {key.saga_id for key in self.table("timers") if key.step == step}
        gone = [
            s
            for s in looked
            if fences[s, step].state in states and s not in awaited and self.is_old("fence", (s, step), page)
        ]
        for saga_id in gone:
            del fences[saga_id, step], self.table(CHANGED)["fence", (saga_id, step)]
        return pruned._replace(rows=len(gone))

    def prune_parked(self, page: PrunePage) -> Pruned:
        rows = sorted(self.table("parked").items())
        old = [p for p, row in rows if row.status != "parked" and row.last_ms <= page.unchanged_since_ms]
        for place in old[: page.limit]:
            del self.table("parked")[place]
        return Pruned(len(old[: page.limit]), page.from_id if len(old) >= page.limit else "")

    def note_pruned(self, table: str, before_id: str, rows: int) -> None:
        before, count = self.table("pruned").get(table, ("", 0))
        self.table("pruned")[table] = (max(before, before_id), count + rows)

    def pruned_before(self, table: str) -> str:
        before: str = self.table("pruned").get(table, ("", 0))[0]
        return before

    def set_timers(self, rows: Collection[TimerRow]) -> None:
        for row in rows:
            self.table("timers")[row.key] = row

    def clear_timers(self, keys: Collection[TimerKey]) -> None:
        for key in keys:
            self.table("timers").pop(key, None)

    def due_timers(
        self, kind: str, partitions: Collection[int], horizon_ms: int, limit: int
    ) -> list[TimerRow]:
        now = self._now_ms
        due = [
            row
            for row in self.table("timers").values()
            if row.kind == kind
            and row.partition in partitions
            and (row.due_ms <= now or row.due_ms > now + horizon_ms)
        ]
        return sorted(due, key=lambda row: (row.due_ms, row.key))[:limit]

    def read_timers(self, saga_id: str) -> list[TimerRow]:
        return sorted(row for row in self.table("timers").values() if row.key.saga_id == saga_id)

    def lock_timers(self, saga_id: str) -> list[TimerRow]:
        return self.read_timers(saga_id)

    def take_lease(self, name: str, owner: str, ttl_ms: int) -> bool:
        leases = self.table("leases")
        holder, expires = leases.get(name, (owner, 0))
        if holder != owner and self._now_ms < expires <= self._now_ms + 2 * ttl_ms:
            return False
        leases[name] = (owner, self._now_ms + ttl_ms)
        return True

    def topic_ids(self, topics: Collection[str]) -> dict[TopicPartition, str]:
        ids = self.table("topic_ids").items()
        return {place: topic_id for place, topic_id in ids if place.topic in topics}

    def save_topic_ids(self, ids: Mapping[TopicPartition, str]) -> None:
        self.table("topic_ids").update(ids)

    def count_start(self, place: str, offset: int) -> int:
        starts = self.table("starts")
        at, count = starts.get(place, (offset, 0))
        count = count + 1 if at == offset else 1
        starts[place] = (offset, count)
        return int(count)

    def forget_starts(self, places: Collection[str]) -> None:
        for place in places:
            self.table("starts").pop(place, None)


T = TypeVar("T", bound=MemoryTransaction)


class MemoryStore(Generic[T]):
    """A database in memory whose transactions are of type `T`."""

    def __init__(self, transaction_type: type[T], now_ms: Callable[[], int]) -> None:
        self.tables = MemoryTables()
        self._type = transaction_type
        self._now_ms = now_ms

    @contextmanager
    def transaction(self) -> Iterator[T]:
        """Open a transaction; see `store.Store`."""
        tx = self._type(self.tables, self._now_ms())
        yield tx
        tx.commit()

    def close(self) -> None:
        """Do nothing: there is no connection."""
