"""The port to a service's own database: what the kernel needs of a transaction.

Each service's store extends `Transaction` with its own tables; PostgreSQL and memory implement both alike.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, TypeVar

from holdfast.bus.port import Message
from holdfast.messaging.fence import Fence, FenceState
from holdfast.messaging.parked import DeadLetterFilter, LogPosition, ParkedRecord, ParkedSummary


class StoreUnavailable(Exception):
    """The database cannot serve this now; nothing was the message's fault. Roll back, back off, try again."""


class RowsUnavailable(StoreUnavailable):
    """Some rows that the transaction needs cannot be had now (locked, damaged); others may do well."""


class OperatorAction(NamedTuple):
    """What a person did by hand, to what, and why; kept for ever."""

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


class TimerKey(NamedTuple):
    saga_id: str
    step: str
    verb: str


class TimerRow(NamedTuple):
    """A thing that happens by time. `due_ms` and `since_ms` are of the database's clock.

    `outbox_id` and `end_offset` tell whether what the last firing sent has left and could have been answered.
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
    """Keys to prune: at most `limit`, from `from_id` on and below `before_id`.

    Of these only what has not changed after `unchanged_since_ms`, by the database's clock.
    """

    from_id: str
    before_id: str
    unchanged_since_ms: int
    limit: int


class Pruned(NamedTuple):
    """How many keys' rows were deleted, and where the next page begins; empty after the last one."""

    rows: int
    next_id: str = ""


class HeldSteps(NamedTuple):
    """Sagas whose step is DONE, smallest first, and the last key looked at: "" where the range has ended."""

    saga_ids: list[str]
    looked_to: str


class Transaction(Protocol):
    """One open transaction. Nothing here commits; leaving `Store.transaction()` does."""

    def now_ms(self) -> int:
        """Return the database's clock at the transaction's start, in Unix milliseconds."""

    def limit_lock_wait(self, wait_ms: int) -> None:
        """Have this transaction wait at most so long for each lock, then raise RowsUnavailable."""

    def append_outbox(self, messages: Sequence[Message]) -> int:
        """Append one batch, return its row id. The messages leave after the commit, in this order."""

    def forget_outbox(self, ids: Collection[int]) -> None:
        """Delete batches that are durably published."""

    def stale_outbox(
        self, older_than_ms: int, limit: int, left_out: Collection[int] = ()
    ) -> list[tuple[int, list[Message]]]:
        """Return the oldest batches that have been lying at least this long, in the order of their ids.

        One that is dated ahead counts by how far: the clock has jumped back. Those `left_out` do not count.
        """

    def outbox_holds(self, ids: Collection[int]) -> frozenset[int]:
        """Return which of these batches are still unpublished."""

    def outbox_age_ms(self, left_out: Collection[int] = ()) -> int:
        """Return the age of the oldest batch but for those `left_out`, 0 if there is none.

        One dated ahead counts alike.
        """

    def park(self, rows: Sequence[ParkedRecord]) -> list[ParkedRecord]:
        """Keep records for an operator; one row per place on the bus, a repeat counts up its attempts.

        Returns them with what the rows say now: all attempts, first and last time.
        """

    def find_parked(
        self, wanted: DeadLetterFilter, after: LogPosition | None, limit: int
    ) -> list[ParkedSummary]:
        """Return a page of parked records in the order of their places."""

    def lock_parked(self, places: Collection[LogPosition]) -> list[ParkedRecord]:
        """Lock these rows in the order of their places and return those that exist, bytes and all."""

    def settle_parked(self, places: Collection[LogPosition], status: str) -> None:
        """Write what was decided of these: redriven, discarded."""

    def redriven_places(self, limit: int) -> list[LogPosition]:
        """Return the first places that are redriven and of which no outcome is known."""

    def take_redriven(self, places: Collection[LogPosition]) -> list[ParkedRecord]:
        """Lock and return, bytes and all, those without a known outcome; skip what others have locked."""

    def note_processed(self, places: Collection[LogPosition]) -> None:
        """Write of these redriven ones that they were processed; parking one again notes that by itself."""

    def record_actions(self, actions: Sequence[OperatorAction]) -> None:
        """Append to the audit log of operators' actions, in the transaction that carries them out."""

    def read_actions(self, target: str) -> list[ActionTaken]:
        """Return what operators did to this target, oldest first."""

    def lock_fences(self, step: str, saga_ids: Collection[str]) -> dict[str, Fence]:
        """Lock the rows of these sagas, existing or not, in sorted order; return those that exist."""

    def save_fences(self, step: str, rows: Collection[Fence], unused: Collection[str]) -> None:
        """Write each row once; `unused` are locked keys that got none."""

    def held_fences(self, step: str, from_id: str, before_id: str, keys: int, limit: int) -> HeldSteps:
        """Look at the first so many keys of this range, for at most `limit` sagas whose step is DONE."""

    def prune_fences(self, step: str, states: Collection[FenceState], page: PrunePage) -> Pruned:
        """Delete this page's rows in one of these states, but for those locked by others or with a timer."""

    def prune_parked(self, page: PrunePage) -> Pruned:
        """Delete up to `limit` parked records that were decided on, last parked before the page's time."""

    def note_pruned(self, table: str, before_id: str, rows: int) -> None:
        """Keep that rows of keys below `before_id` may be gone; it never moves back."""

    def pruned_before(self, table: str) -> str:
        """Return the key below which rows may be gone, empty where none ever went."""

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
        """Return the same, locked; lock them before the saga, as whoever fires them does."""

    def take_lease(self, name: str, owner: str, ttl_ms: int) -> bool:
        """Take or renew the lease `name` for `owner`; False while somebody else holds it.

        One that runs for longer than twice `ttl_ms` is nobody's: the clock has jumped back.
        """

    def count_start(self, place: str, offset: int) -> int:
        """Count a start of consumption at (place, committed offset); return the count without progress."""

    def forget_starts(self, places: Collection[str]) -> None:
        """Take back what was counted: these starts did not kill anybody."""


T_co = TypeVar("T_co", covariant=True)


class Store(Protocol[T_co]):
    """A service's own database. Safe to use from several threads."""

    def transaction(self) -> AbstractContextManager[T_co]:
        """Open a transaction; leaving it commits, an exception rolls back. Raises StoreUnavailable."""

    def close(self) -> None:
        """Close all connections."""


Counts = Mapping[str, int]
