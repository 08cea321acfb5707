"""checkout-orchestrator's tables in PostgreSQL; the statements are in `sql/`."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from holdfast.messaging.database import PostgresTransaction, statements
from holdfast.messaging.store import Pruned, PrunePage
from holdfast.saga.state import SagaInstance
from holdfast.services.checkout_orchestrator.store_port import (
    HistoryRow,
    IgnoredEvent,
    IgnoredRow,
    SagaFilter,
    StateCount,
)

SQL = statements("holdfast.services.checkout_orchestrator")

_IDS = {
    (False, True): "select_ids_newest_first",
    (False, False): "select_ids_oldest_first",
    (True, True): "select_open_ids_newest_first",
    (True, False): "select_open_ids_oldest_first",
}

_results = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...])


class PostgresSagaTransaction(PostgresTransaction):
    """See `store_port.SagaTransaction` for every promise."""

    def lock_sagas(self, saga_ids: Collection[str], may_be_new: Collection[str]) -> dict[str, SagaInstance]:
        if may_be_new:
            self.write(SQL["insert_new_sagas"], saga_ids=sorted(may_be_new))
        ids = list(saga_ids)
        self.write(SQL["lock_sagas"], saga_ids=ids)
        rows = self.read(SQL["select_sagas"], saga_ids=ids)
        return {row[0]: _saga(row) for row in rows}

    def processed_event_ids(self, pairs: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        rows = self.read(
            SQL["select_processed_event_ids"],
            saga_ids=[saga_id for saga_id, _ in pairs],
            event_ids=[event_id for _, event_id in pairs],
        )
        return frozenset((row[0], row[1]) for row in rows)

    def save_sagas(self, rows: Collection[SagaInstance], unused: Collection[str]) -> None:
        if rows:
            self._update_sagas(rows)
        if unused:
            self.write(SQL["delete_new_sagas"], saga_ids=list(unused))

    def _update_sagas(self, rows: Collection[SagaInstance]) -> None:
        self.write(
            SQL["update_sagas"],
            saga_ids=[row.saga_id for row in rows],
            definitions=[row.definition for row in rows],
            definition_versions=[row.definition_version for row in rows],
            states=[row.state for row in rows],
            versions=[row.version for row in rows],
            failed=[",".join(row.failed) for row in rows],
            owed=[",".join(row.owed) for row in rows],
            results=[msgspec.msgpack.encode(row.results) for row in rows],
            reasons=[row.reason for row in rows],
            details=[row.detail for row in rows],
            started_ms=[row.started_ms for row in rows],
            ended_ms=[row.ended_ms for row in rows],
            stalled_ms=[row.stalled_ms for row in rows],
        )

    def append_history(self, rows: Sequence[HistoryRow]) -> None:
        if rows:
            self.write(
                SQL["insert_history"],
                saga_ids=[row.saga_id for row in rows],
                seqs=[row.seq for row in rows],
                event_ids=[row.event_id for row in rows],
                kinds=[row.kind for row in rows],
                payloads=[row.payload for row in rows],
                paths=[",".join(row.path) for row in rows],
                at_ms=[row.at_ms for row in rows],
            )

    def count_ignored(self, rows: Sequence[IgnoredRow]) -> None:
        if not rows:
            return
        times: dict[tuple[str, str], int] = {}
        for row in rows:
            times[row.saga_id, row.event_id] = times.get((row.saga_id, row.event_id), 0) + 1
        last = {(row.saga_id, row.event_id): row for row in rows}.values()
        self.write(
            SQL["count_ignored"],
            saga_ids=[row.saga_id for row in last],
            event_ids=[row.event_id for row in last],
            kinds=[row.kind for row in last],
            reasons=[row.reason for row in last],
            times=[times[row.saga_id, row.event_id] for row in last],
        )

    def prune_sagas(self, states: Collection[str], page: PrunePage) -> Pruned:
        return self.prune(SQL["prune_sagas"], page, states=sorted(states))

    def read_saga(self, saga_id: str) -> SagaInstance | None:
        return self.read_sagas([saga_id]).get(saga_id)

    def read_sagas(self, saga_ids: Collection[str]) -> dict[str, SagaInstance]:
        rows = self.read(SQL["select_sagas"], saga_ids=list(saga_ids))
        return {row[0]: _saga(row) for row in rows}

    def read_paths(self, saga_ids: Collection[str]) -> dict[str, list[HistoryRow]]:
        histories: dict[str, list[HistoryRow]] = {}
        for row in self.read(SQL["select_paths"], saga_ids=list(saga_ids)):
            histories.setdefault(row[0], []).append(
                HistoryRow(row[0], row[1], row[2], row[3], b"", _names(row[4]), row[5])
            )
        return histories

    def saga_ids(self, saga_filter: SagaFilter, limit: int, *, newest_first: bool) -> list[str]:
        statement = SQL[_IDS[saga_filter.only_open, newest_first]]
        rows = self.read(statement, from_id=saga_filter.from_id, before_id=saga_filter.before_id, limit=limit)
        return [row[0] for row in rows]

    def matching_sagas(self, saga_filter: SagaFilter, saga_ids: Collection[str]) -> frozenset[str]:
        rows = self.read(
            SQL["select_matching_sagas"],
            saga_ids=list(saga_ids),
            states=list(saga_filter.states),
            reason=saga_filter.reason,
            stalled=saga_filter.stalled,
        )
        return frozenset(row[0] for row in rows)

    def count_open(self, partitions: Collection[int]) -> list[StateCount]:
        rows = self.read(SQL["count_open"], partitions=list(partitions))
        return [StateCount(*row) for row in rows]

    def read_ignored(self, saga_id: str) -> list[IgnoredEvent]:
        rows = self.read(SQL["select_ignored"], saga_id=saga_id)
        return [IgnoredEvent(*row) for row in rows]

    def read_history(self, saga_id: str) -> list[HistoryRow]:
        rows = self.read(SQL["select_history"], saga_id=saga_id)
        return [
            HistoryRow(row[0], row[1], row[2], row[3], bytes(row[4]), _names(row[5]), row[6]) for row in rows
        ]


def _saga(row: Any) -> SagaInstance:
    return SagaInstance(
        saga_id=row[0],
        definition=row[1],
        definition_version=row[2],
        state=row[3],
        version=row[4],
        failed=_names(row[5]),
        owed=_names(row[6]),
        results=_results.decode(row[7]),
        reason=row[8],
        detail=row[9],
        started_ms=row[10],
        ended_ms=row[11],
        stalled_ms=row[12],
        data=bytes(row[13]),
    )


def _names(joined: str) -> tuple[str, ...]:
    return tuple(joined.split(",")) if joined else ()
