"""The port to a service's own database: what the kernel needs from a transaction.

Each service's store extends `Transaction` with its own tables, once on PostgreSQL and once in memory.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from holdfast.bus.port import Message, TopicPartition
from holdfast.messaging.fence import Fence, FenceState
from holdfast.messaging.parked import DeadLetterFilter, LogPosition, ParkedRecord, ParkedSummary


class StoreUnavailable(Exception):
    """The database cannot serve this call now; no message caused that. Roll back, back off, try again."""


class RowsUnavailable(StoreUnavailable):
    """Some rows that the transaction needs are unavailable now (locked, damaged); others may be fine."""


class StatementFailed(RowsUnavailable):
    """The database refused a statement for a reason that is not always its own trouble.

    It counts as trouble until the same message keeps failing while others of its type succeed (`suspects`).
    """


class StoreForbidden(StoreUnavailable):
    """The database refuses our name or password, or does not exist, until an operator changes that."""


class OperatorAction(NamedTuple):
    """What an operator did by hand, to which target, and why; kept for ever."""

    operator: str
    action: str
    target: str
    reason: str


class ActionTaken(NamedTuple):
    """An operator's action as it stands in the log."""

    at_ms: int
    operator: str
    action: str
    reason: str


@dataclass
class OutboxRow:
    """A row of the outbox; its `id` is known once the transaction has read something or committed."""

    id: int = 0


class TimerKey(NamedTuple):
    saga_id: str
    step: str
    verb: str


class TimerRow(NamedTuple):
    """Something that happens when its time comes. `due_ms` and `since_ms` are by the database's clock.

    `outbox_id` and `end_offset` show whether the last firing's message was sent and could have been answered.
    """

    key: TimerKey
    kind: str
    partition: int
    since_ms: int
    due_ms: int
    fired: int = 0
    outbox_id: int = 0
    end_offset: int = 0


class PrunePage(NamedTuple):
    """The keys to look at in one pruning: at most `limit`, from `from_id` on and below `before_id`.

    Only rows unchanged after `unchanged_since_ms` (the database's clock) may be deleted.
    """

    from_id: str
    before_id: str
    unchanged_since_ms: int
    limit: int


class Pruned(NamedTuple):
    """How many keys' rows were deleted, and the key at which the next page begins, empty after the last."""

    rows: int
    next_id: str = ""


class HeldSteps(NamedTuple):
    """Sagas whose step is DONE, smallest first, and the last key looked at, "" if the range has ended."""

    saga_ids: list[str]
    looked_to: str


class Transaction(Protocol):
    """One open transaction. No method here commits; leaving `Store.transaction()` commits."""

    def now_ms(self) -> int:
        """Return the database's clock at the transaction's start, in Unix milliseconds."""

    def limit_lock_wait(self, wait_ms: int) -> None:
        """Make this transaction wait at most `wait_ms` for each lock, then raise RowsUnavailable."""

    def probe_writes(self) -> None:
        """Raise StoreUnavailable if a write would fail: read-only, disk full, no right. Writes nothing."""

    def append_outbox(self, messages: Sequence[Message]) -> OutboxRow:
        """Append one batch. The relay publishes it after the commit, in this order."""

    def outbox_id(self, row: OutboxRow) -> int:
        """Return the id of a row that this transaction appended."""

    def forget_outbox(self, ids: Collection[int]) -> None:
        """Delete batches that are durably published."""

    def stale_outbox(
        self, older_than_ms: int, limit: int, left_out: Collection[int] = ()
    ) -> list[tuple[int, list[Message]]]:
        """Return the oldest batches of at least this age, in the order of their ids, except `left_out`.

        A date in the future counts as an age of the same length: the clock has jumped back.
        """

    def outbox_holds(self, ids: Collection[int]) -> frozenset[int]:
        """Return which of these batches are still unpublished."""

    def outbox_age_ms(self, left_out: Collection[int] = ()) -> int:
        """Return the age of the oldest batch except `left_out`, 0 if there is none.

        A date in the future counts as in `stale_outbox`.
        """

    def park(self, rows: Sequence[ParkedRecord]) -> list[ParkedRecord]:
        """Keep records for an operator, one row per position on the bus; a repeat adds to its attempts.

        Returns the records as their rows are now: all attempts, first and last time.
        """

    def find_parked(
        self, wanted: DeadLetterFilter, after: LogPosition | None, limit: int
    ) -> list[ParkedSummary]:
        """Return a page of parked records after `after`, in the order of their positions."""

    def lock_parked(self, places: Collection[LogPosition]) -> list[ParkedRecord]:
        """Lock these rows in the order of their positions; return those that exist, with their bytes."""

    def settle_parked(self, places: Collection[LogPosition], status: str) -> None:
        """Write the operator's decision on these rows as their status: redriven or discarded."""

    def redriven_places(self, limit: int) -> list[LogPosition]:
        """Return the first positions whose record is redriven and has no known outcome."""

    def take_redriven(self, places: Collection[LogPosition]) -> list[ParkedRecord]:
        """Lock and return, with bytes, redriven rows without a known outcome; skip locked ones."""

    def note_processed(self, places: Collection[LogPosition]) -> None:
        """Note these redriven records as processed. (If one fails again, `park` notes that itself.)"""

    def record_actions(self, actions: Sequence[OperatorAction]) -> None:
        """Append to the log of operators' actions, in the transaction that carries them out."""

    def read_actions(self, target: str) -> list[ActionTaken]:
        """Return what operators did to this target, oldest first."""

    def lock_fences(self, step: str, saga_ids: Collection[str]) -> dict[str, Fence]:
        """Lock the fence rows of these sagas in sorted order, also missing ones; return those that exist."""

    def save_fences(self, step: str, rows: Collection[Fence], unused: Collection[str]) -> None:
        """Write each row once; `unused` are locked keys that stay without a row."""

    def held_fences(self, step: str, from_id: str, before_id: str, keys: int, limit: int) -> HeldSteps:
        """Look at the first `keys` keys of this range; return at most `limit` sagas whose step is DONE."""

    def prune_fences(self, step: str, states: Collection[FenceState], page: PrunePage) -> Pruned:
        """Delete this page's rows in one of these states, except those that are locked or have a timer."""

    def prune_parked(self, page: PrunePage) -> Pruned:
        """Delete up to `limit` decided records that were last parked before `unchanged_since_ms`."""

    def note_pruned(self, table: str, before_id: str, rows: int) -> None:
        """Record that rows of keys below `before_id` may be gone; the recorded key never moves back."""

    def pruned_before(self, table: str) -> str:
        """Return the key below which rows may be gone, empty if none was ever deleted."""

    def set_timers(self, rows: Collection[TimerRow]) -> None:
        """Insert timers or replace those with the same key."""

    def clear_timers(self, keys: Collection[TimerKey]) -> None:
        """Remove timers; a missing one is no error."""

    def due_timers(
        self, kind: str, partitions: Collection[int], horizon_ms: int, limit: int
    ) -> list[TimerRow]:
        """Lock and return timers that are due, skipping those locked by others.

        A timer due further ahead than `horizon_ms` counts as due: the clock has jumped back.
        """

    def read_timers(self, saga_id: str) -> list[TimerRow]:
        """Return the timers of a saga, in the order of their keys."""

    def lock_timers(self, saga_id: str) -> list[TimerRow]:
        """Return the same, locked. Lock them before the saga, as the code that fires timers does."""

    def take_lease(self, name: str, owner: str, ttl_ms: int) -> bool:
        """Take or renew the lease `name` for `owner`; False while another owner holds it.

        A lease that ends more than twice `ttl_ms` from now is free: the clock has jumped back.
        """

    def topic_ids(self, topics: Collection[str]) -> dict[TopicPartition, str]:
        """Return the id that each of these topics had when a partition was last looked at."""

    def save_topic_ids(self, ids: Mapping[TopicPartition, str]) -> None:
        """Write these ids."""

    def count_start(self, place: str, offset: int) -> int:
        """Count a start at (place, committed offset); return the number of starts at this same offset."""

    def forget_starts(self, places: Collection[str]) -> None:
        """Delete the counts of these places: their starts killed no process."""


T_co = TypeVar("T_co", covariant=True)


class Store(Protocol[T_co]):
    """A service's own database. Safe to use from several threads."""

    def transaction(self) -> AbstractContextManager[T_co]:
        """Open a transaction; leaving it commits, an exception rolls back. Raises StoreUnavailable."""

    def close(self) -> None:
        """Close all connections."""
