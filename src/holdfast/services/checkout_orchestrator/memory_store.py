"""checkout-orchestrator's tables in memory: the twin of `store`."""

from collections.abc import Collection, Sequence

from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.store import StoreUnavailable
from holdfast.saga.state import SagaState
from holdfast.services.checkout_orchestrator.store_port import HistoryRow, IgnoredRow


class MemorySagaTransaction(MemoryTransaction):
    """See `store_port.SagaTransaction` for every promise."""

    def lock_sagas(self, saga_ids: Collection[str], may_be_new: Collection[str]) -> dict[str, SagaState]:
        sagas = self.table("saga")
        return {saga_id: sagas[saga_id] for saga_id in saga_ids if saga_id in sagas}

    def processed_event_ids(self, pairs: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        processed = self.table("saga_event_id")
        return frozenset(pair for pair in pairs if pair in processed)

    def save_sagas(self, rows: Collection[SagaState], unused: Collection[str]) -> None:
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
        ignored = self.table("saga_ignored")
        for row in rows:
            _, times = ignored.get((row.saga_id, row.event_id), (row, 0))
            ignored[row.saga_id, row.event_id] = (row, times + 1)

    def read_saga(self, saga_id: str) -> SagaState | None:
        saga: SagaState | None = self.table("saga").get(saga_id)
        return saga

    def read_sagas(self, saga_ids: Collection[str]) -> dict[str, SagaState]:
        sagas = self.table("saga")
        return {saga_id: sagas[saga_id] for saga_id in saga_ids if saga_id in sagas}

    def read_paths(self, saga_ids: Collection[str]) -> dict[str, list[HistoryRow]]:
        histories = {saga_id: self.read_history(saga_id) for saga_id in saga_ids}
        return {
            saga_id: [row._replace(payload=b"") for row in rows]
            for saga_id, rows in histories.items()
            if rows
        }

    def read_history(self, saga_id: str) -> list[HistoryRow]:
        rows = [row for (of, _), row in self.table("saga_event").items() if of == saga_id]
        return sorted(rows, key=lambda row: row.seq)
