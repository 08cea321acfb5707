"""The kernel's tables in PostgreSQL: one transaction's statements.

Statements are in `sql/`, one per file; services add their own tables in their `store.py`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, LiteralString

import msgspec
import structlog
from psycopg.rows import TupleRow

from holdfast.bus.port import Headers, Message, Record, TopicPartition
from holdfast.messaging import arrays
from holdfast.messaging.arrays import Array
from holdfast.messaging.fence import Fence, FenceState
from holdfast.messaging.ids import uuid7_after
from holdfast.messaging.parked import DeadLetterFilter, LogPosition, ParkedRecord, ParkedSummary
from holdfast.messaging.pipeline import Pipeline
from holdfast.messaging.store import (
    ActionTaken,
    HeldSteps,
    OperatorAction,
    OutboxRow,
    Pruned,
    PrunePage,
    StoreForbidden,
    TimerKey,
    TimerRow,
)

log = structlog.get_logger(__name__)

arrays.register()
_batch_encoder = msgspec.msgpack.Encoder()
_batch_decoder = msgspec.msgpack.Decoder(list[Message])
_headers_decoder = msgspec.msgpack.Decoder(Headers)


@cache
def statements(package: str) -> Mapping[str, LiteralString]:
    """Load the `.sql` files of `package`'s `sql` folder: from file name without ending to text."""
    folder = files(package) / "sql"
    return {
        entry.name.removesuffix(".sql"): entry.read_text("utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    }


class PostgresTransaction:
    """The kernel's part of a transaction; `store.Transaction` documents each method."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._now_ms: int | None = None
        self._kernel = statements("holdfast.messaging")

    def read(self, statement: LiteralString, **values: Any) -> list[TupleRow]:
        """Execute a statement with named values, after all that wait; lists are sent as arrays."""
        return self._pipeline.read(statement, _packed(values))

    def write(self, statement: LiteralString, **values: Any) -> None:
        """Execute a statement together with the next read, or the commit, which raises its error."""
        self._pipeline.write(statement, _packed(values))

    def change(self, statement: LiteralString, **values: Any) -> int:
        """Execute a statement, after all that wait; return how many rows it changed."""
        return self._pipeline.change(statement, _packed(values))

    def now_ms(self) -> int:
        if self._now_ms is None:
            self._now_ms = int(_one(self.read(self._kernel["select_now"])))
        return self._now_ms

    def limit_lock_wait(self, wait_ms: int) -> None:
        self.write(self._kernel["limit_lock_wait"], wait=f"{wait_ms}ms")

    def probe_writes(self) -> None:
        self.write(self._kernel["limit_probe_memory"])
        refused = _one(self.read(self._kernel["probe_writes"]))
        if refused:
            raise StoreForbidden(f"this role may not write {refused}")

    def append_outbox(self, messages: Sequence[Message]) -> OutboxRow:
        row = OutboxRow()

        def note_id(rows: list[TupleRow]) -> None:
            row.id = int(_one(rows))

        values = {"count": len(messages), "batch": _batch_encoder.encode(messages)}
        self._pipeline.write(self._kernel["append_outbox"], values, note_id)
        return row

    def outbox_id(self, row: OutboxRow) -> int:
        if not row.id:
            self._pipeline.flush()
        return row.id

    def forget_outbox(self, ids: Collection[int]) -> None:
        if ids:
            self.write(self._kernel["forget_outbox"], ids=list(ids))

    def stale_outbox(
        self, older_than_ms: int, limit: int, left_out: Collection[int] = ()
    ) -> list[tuple[int, list[Message]]]:
        values = {"older_than_ms": older_than_ms, "limit": limit, "left_out": list(left_out)}
        rows = self.read(self._kernel["select_stale_outbox"], **values)
        return [(row_id, _batch_decoder.decode(batch)) for row_id, batch in rows]

    def outbox_holds(self, ids: Collection[int]) -> frozenset[int]:
        if not ids:
            return frozenset()
        rows = self.read(self._kernel["select_outbox_holds"], ids=list(ids))
        return frozenset(row[0] for row in rows)

    def outbox_age_ms(self, left_out: Collection[int] = ()) -> int:
        return int(_one(self.read(self._kernel["select_outbox_age"], left_out=list(left_out))))

    def park(self, rows: Sequence[ParkedRecord]) -> list[ParkedRecord]:
        if not rows:
            return []
        unique = {row.place: row for row in rows}
        parked = self.read(
            self._kernel["park_records"],
            **_places(unique),
            reasons=[_storable(row.reason, 100) for row in unique.values()],
            details=[_storable(row.detail, 1000) for row in unique.values()],
            message_ids=[row.message_id and _storable(row.message_id, 300) for row in unique.values()],
            saga_ids=[row.saga_id for row in unique.values()],
            keys=[row.record.key for row in unique.values()],
            values=[row.record.value for row in unique.values()],
            headers=[_batch_encoder.encode(row.record.headers) for row in unique.values()],
            attempts=[row.attempts for row in unique.values()],
            sources=[row.record.source and _storable(row.record.source, 100) for row in unique.values()],
        )
        for topic, partition, offset, attempts, first_ms, last_ms in parked:
            place = LogPosition(topic, partition, offset)
            unique[place] = unique[place]._replace(attempts=attempts, first_ms=first_ms, last_ms=last_ms)
        return list(unique.values())

    def find_parked(
        self, wanted: DeadLetterFilter, after: LogPosition | None, limit: int
    ) -> list[ParkedSummary]:
        topic, partition, offset = after or ("", 0, 0)
        rows = self.read(
            self._kernel["find_parked"],
            **wanted._asdict(),
            after_topic=topic,
            after_partition=partition,
            after_position=offset,
            limit=limit,
        )
        return [ParkedSummary(LogPosition(*row[:3]), *row[3:]) for row in rows]

    def lock_parked(self, places: Collection[LogPosition]) -> list[ParkedRecord]:
        return self._parked("lock_parked", places)

    def take_redriven(self, places: Collection[LogPosition]) -> list[ParkedRecord]:
        return self._parked("take_redriven", places)

    def _parked(self, statement: str, places: Collection[LogPosition]) -> list[ParkedRecord]:
        if not places:
            return []
        parked = []
        for row in self.read(self._kernel[statement], **_places(places)):
            key, value, headers = (data if data is None else bytes(data) for data in row[3:6])
            decoded = _headers_decoder.decode(headers or b"")
            record = Record(row[0], row[1], row[2], key, value, decoded, 0, row[6])
            parked.append(ParkedRecord(record, *row[7:]))
        return parked

    def settle_parked(self, places: Collection[LogPosition], status: str) -> None:
        if places:
            self.write(self._kernel["settle_parked"], **_places(places), status=status)

    def redriven_places(self, limit: int) -> list[LogPosition]:
        return [LogPosition(*row) for row in self.read(self._kernel["select_redriven"], limit=limit)]

    def note_processed(self, places: Collection[LogPosition]) -> None:
        if places:
            self.write(self._kernel["note_processed"], **_places(places))

    def record_actions(self, actions: Sequence[OperatorAction]) -> None:
        if actions:
            self.write(
                self._kernel["record_actions"],
                operators=[_storable(action.operator, 200) for action in actions],
                actions=[action.action for action in actions],
                targets=[_storable(action.target, 500) for action in actions],
                reasons=[_storable(action.reason, 1000) for action in actions],
            )

    def read_actions(self, target: str) -> list[ActionTaken]:
        rows = self.read(self._kernel["select_actions"], target=_storable(target, 500))
        return [ActionTaken(*row) for row in rows]

    def lock_fences(self, step: str, saga_ids: Collection[str]) -> dict[str, Fence]:
        ids = sorted(set(saga_ids))
        if not ids:
            return {}
        self.write(self._kernel["insert_new_fences"], step=step, saga_ids=ids)
        rows = self.read(self._kernel["lock_fences"], step=step, saga_ids=ids)
        return {
            row[0]: Fence(row[0], FenceState(row[1]), row[2], bytes(row[3]), row[4], row[5])
            for row in rows
            if row[1] != "NEW"
        }

    def save_fences(self, step: str, rows: Collection[Fence], unused: Collection[str]) -> None:
        if rows:
            self.write(
                self._kernel["update_fences"],
                step=step,
                saga_ids=[row.saga_id for row in rows],
                states=[row.state.value for row in rows],
                reply_kinds=[row.reply_kind for row in rows],
                replies=[row.reply for row in rows],
                submitted=[row.submitted for row in rows],
                undo_requested=[row.undo_requested for row in rows],
            )
        if unused:
            self.write(self._kernel["delete_new_fences"], step=step, saga_ids=list(unused))

    def held_fences(self, step: str, from_id: str, before_id: str, keys: int, limit: int) -> HeldSteps:
        values = {"step": step, "from_id": from_id, "before_id": before_id, "keys": keys, "limit": limit}
        [(held, last, looked)] = self.read(self._kernel["select_held_fences"], **values)
        if len(held) == limit:
            return HeldSteps(held, held[-1])
        return HeldSteps(held, last if looked == keys else "")

    def prune_fences(self, step: str, states: Collection[FenceState], page: PrunePage) -> Pruned:
        return self.prune(self._kernel["prune_fences"], page, step=step, states=[s.value for s in states])

    def prune_parked(self, page: PrunePage) -> Pruned:
        values = {"unchanged_since_ms": page.unchanged_since_ms, "limit": page.limit}
        rows = self.change(self._kernel["prune_parked"], **values)
        return Pruned(rows, page.from_id if rows >= page.limit else "")

    def prune(self, statement: LiteralString, page: PrunePage, **values: Any) -> Pruned:
        """Run a pruning statement: it returns the number of deleted keys, of keys seen, and the last seen."""
        rows, looked, last = self.read(statement, **page._asdict(), **values)[0]
        return Pruned(rows, uuid7_after(last) if looked == page.limit else "")

    def note_pruned(self, table: str, before_id: str, rows: int) -> None:
        self.write(self._kernel["note_pruned"], name=table, before_id=before_id, rows=rows)

    def pruned_before(self, table: str) -> str:
        found = self.read(self._kernel["select_pruned_before"], name=table)
        return found[0][0] if found else ""

    def set_timers(self, rows: Collection[TimerRow]) -> None:
        if not rows:
            return
        last = {row.key: row for row in rows}.values()
        self.write(
            self._kernel["set_timers"],
            saga_ids=[row.key.saga_id for row in last],
            steps=[row.key.step for row in last],
            verbs=[row.key.verb for row in last],
            kinds=[row.kind for row in last],
            partitions=[row.partition for row in last],
            since_ms=[row.since_ms for row in last],
            due_ms=[row.due_ms for row in last],
            fired=[row.fired for row in last],
            outbox_ids=[row.outbox_id for row in last],
            end_offsets=[row.end_offset for row in last],
        )

    def clear_timers(self, keys: Collection[TimerKey]) -> None:
        if keys:
            self.write(
                self._kernel["clear_timers"],
                saga_ids=[key.saga_id for key in keys],
                steps=[key.step for key in keys],
                verbs=[key.verb for key in keys],
            )

    def due_timers(
        self, kind: str, partitions: Collection[int], horizon_ms: int, limit: int
    ) -> list[TimerRow]:
        if not partitions:
            return []
        rows = self.read(
            self._kernel["select_due_timers"],
            kind=kind,
            partitions=list(partitions),
            horizon_ms=horizon_ms,
            limit=limit,
        )
        return _timers(rows)

    def read_timers(self, saga_id: str) -> list[TimerRow]:
        return _timers(self.read(self._kernel["select_timers"], saga_id=saga_id))

    def lock_timers(self, saga_id: str) -> list[TimerRow]:
        return _timers(self.read(self._kernel["lock_timers"], saga_id=saga_id))

    def take_lease(self, name: str, owner: str, ttl_ms: int) -> bool:
        taken = self.read(self._kernel["take_lease"], name=name, owner=owner, ttl_ms=ttl_ms)
        return bool(taken)

    def topic_ids(self, topics: Collection[str]) -> dict[TopicPartition, str]:
        rows = self.read(self._kernel["select_topic_ids"], topics=list(topics))
        return {TopicPartition(topic, partition): topic_id for topic, partition, topic_id in rows}

    def save_topic_ids(self, ids: Mapping[TopicPartition, str]) -> None:
        if ids:
            self.write(
                self._kernel["save_topic_ids"],
                topics=[place.topic for place in ids],
                partitions=[place.partition for place in ids],
                ids=list(ids.values()),
            )

    def count_start(self, place: str, offset: int) -> int:
        return int(_one(self.read(self._kernel["count_start"], place=place, position=offset)))

    def forget_starts(self, places: Collection[str]) -> None:
        if places:
            self.write(self._kernel["delete_starts"], places=list(places))


def _packed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Array(value) if type(value) is list else value for name, value in values.items()}


def _one(rows: Sequence[TupleRow]) -> Any:
    [(value,)] = rows
    return value


def _places(places: Collection[LogPosition]) -> dict[str, list[Any]]:
    return {
        "topics": [place.topic for place in places],
        "partitions": [place.partition for place in places],
        "positions": [place.offset for place in places],
    }


def _timers(rows: Iterable[TupleRow]) -> list[TimerRow]:
    return [TimerRow(TimerKey(row[0], row[1], row[2]), *row[3:]) for row in rows]


def _storable(text: str, length: int) -> str:
    """Return the text cut to `length` and without NUL, which PostgreSQL's text cannot hold."""
    return text.replace("\x00", "?")[:length]
