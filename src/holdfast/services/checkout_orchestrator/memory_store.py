"""checkout-orchestrator's tables in memory; they behave like those of `store`."""

from collections.abc import Collection, Sequence

from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.store import Pruned, PrunePage, StoreUnavailable
from holdfast.saga.state import DEADLINE_PASSED, SagaInstance
from holdfast.services.checkout_orchestrator.store_port import (
    HistoryRow,
    IgnoredEvent,
    IgnoredRow,
    SagaFilter,
    StateCount,
)


class MemorySagaTransaction(MemoryTransaction):
    """See `store_port.SagaTransaction` for every promise."""

    def lock_sagas(self, saga_ids: Collection[str], may_be_new: Collection[str]) -> dict[str, SagaInstance]:
        sagas = self.table("saga")
        return {saga_id: sagas[saga_id] for saga_id in saga_ids if saga_id in sagas}

    def processed_event_ids(self, pairs: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        processed = self.table("saga_event_id")
        return frozenset(pair for pair in pairs if pair in processed)

    def save_sagas(self, rows: Collection[SagaInstance], unused: Collection[str]) -> None:
        for row in rows:
            before = self.table("saga").get(row.saga_id)
            if before is not None and before.version >= row.version:
                raise StoreUnavailable(f"saga {row.saga_id} was changed by somebody else meanwhile")
            self.table("saga")[row.saga_id] = row

    def append_history(self, rows: Sequence[HistoryRow]) -> None:
        for row in rows:
            self.table("saga_event")[row.saga_id, row.seq] = row
            self.table("saga_event_id")[row.saga_id, row.event_id] = row.seq

    def count_ignored(self, rows: Sequence[IgnoredRow]) -> None:
        ignored, seen = self.table("saga_ignored"), self.table("saga_ignored_seen")
        for row in rows:
            key = (row.saga_id, row.event_id)
            _, times = ignored.get(key, (row, 0))
            ignored[key] = (row, times + 1)
            seen[key] = (seen.get(key, (self.now_ms(),))[0], self.now_ms())

    def prune_sagas(self, states: Collection[str], page: PrunePage) -> Pruned:
        sagas = self.table("saga")
        looked, pruned = self.look(sagas, page)
        gone = {
            s for s in looked if sagas[s].state in states and sagas[s].ended_ms <= page.unchanged_since_ms
        }
        for name in ("saga_event", "saga_event_id", "saga_ignored"):
            for key in [key for key in self.table(name) if key[0] in gone]:
                del self.table(name)[key]
        for saga_id in gone:
            del sagas[saga_id]
        return pruned._replace(rows=len(gone))

    def read_saga(self, saga_id: str) -> SagaInstance | None:
        saga: SagaInstance | None = self.table("saga").get(saga_id)
        return saga

    def read_sagas(self, saga_ids: Collection[str]) -> dict[str, SagaInstance]:
        sagas = self.table("saga")
        return {saga_id: sagas[saga_id] for saga_id in saga_ids if saga_id in sagas}

    def read_paths(self, saga_ids: Collection[str]) -> dict[str, list[HistoryRow]]:
        found = {
            saga_id: [
                row._replace(payload=b"")
                for row in self.read_history(saga_id)
                if row.path or row.kind != DEADLINE_PASSED
            ]
            for saga_id in saga_ids
        }
        return {saga_id: rows for saga_id, rows in found.items() if rows}

    def saga_ids(self, saga_filter: SagaFilter, limit: int, *, newest_first: bool) -> list[str]:
        ids = self._open_ids() if saga_filter.only_open else set(self.table("saga"))
        ranged = [saga_id for saga_id in ids if saga_filter.from_id <= saga_id < saga_filter.before_id]
        return sorted(ranged, reverse=newest_first)[:limit]

    def matching_sagas(self, saga_filter: SagaFilter, saga_ids: Collection[str]) -> frozenset[str]:
        return frozenset(
            saga.saga_id
            for saga in self.read_sagas(saga_ids).values()
            if (not saga_filter.states or saga.state in saga_filter.states)
            and saga_filter.reason in ("", saga.reason)
            and (saga.stalled_ms or not saga_filter.stalled)
        )

    def count_open(self, partitions: Collection[int]) -> list[StateCount]:
        by_state: dict[str, list[SagaInstance]] = {}
        for saga in self.read_sagas(self._open_ids(partitions)).values():
            by_state.setdefault(saga.state, []).append(saga)
        return [
            StateCount(
                state,
                len(sagas),
                sum(1 for saga in sagas if saga.stalled_ms),
                min(saga.started_ms for saga in sagas),
            )
            for state, sagas in sorted(by_state.items())
        ]

    def _open_ids(self, partitions: Collection[int] | None = None) -> set[str]:
        return {
            row.key.saga_id
            for row in self.table("timers").values()
            if row.kind == "deadline" and (partitions is None or row.partition in partitions)
        }

    def read_ignored(self, saga_id: str) -> list[IgnoredEvent]:
        seen = self.table("saga_ignored_seen")
        rows = sorted((key, row) for key, row in self.table("saga_ignored").items() if key[0] == saga_id)
        return [
            IgnoredEvent(row.event_id, row.kind, row.reason, times, *seen[key]) for key, (row, times) in rows
        ]

    def read_history(self, saga_id: str) -> list[HistoryRow]:
        rows = [row for (of, _), row in self.table("saga_event").items() if of == saga_id]
        return sorted(rows, key=lambda row: row.seq)
