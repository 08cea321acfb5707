"""Pruning: deletes rows of ended sagas once no message that still exists could need them.

Each service says which rows may go (docs/reference/retention.md); this module deletes them page by page.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from holdfast.messaging.components import Ports
from holdfast.messaging.fence import FenceState
from holdfast.messaging.ids import uuid7_floor
from holdfast.messaging.store import Pruned, PrunePage, StoreUnavailable, Transaction

LEASE = "pruner"
LEASE_MS = 60_000
PAGE_ROWS = 500
PAUSE_S = 0.1
REST_MAX_S = 5.0
ENDED_STEP = (FenceState.CONFIRMED, FenceState.UNDONE, FenceState.TOMBSTONE, FenceState.REFUSED)
"""The final states of a step that has an undo."""

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=Transaction)


@dataclass(frozen=True)
class Retention:
    """How long ended rows are kept, and how often the pruner looks for older ones; in milliseconds."""

    rows_ms: int
    parked_ms: int
    every_ms: int


@dataclass(frozen=True)
class Pruning(Generic[T]):
    """How to prune one table: `prune` deletes one page's rows; `by_key`: the page is a range of saga ids."""

    table: str
    keep_ms: int
    prune: Callable[[T, PrunePage], Pruned]
    by_key: bool = True


class Pruner(Generic[T]):
    """Deletes in passes: one page per transaction, then a pause; one instance per database at a time.

    Its transactions never wait for a locked row, and the writer waits for at most one page of its rows.
    """

    def __init__(self, ports: Ports[T], retention: Retention, prunings: Sequence[Pruning[T]]) -> None:
        self._store = ports.store
        self._instance = ports.instance
        self._monotonic_ms = ports.monotonic_ms
        self._every_ms = retention.every_ms
        self._prunings: list[Pruning[T]] = [
            *prunings,
            Pruning("parked", retention.parked_ms, _prune_parked, by_key=False),
        ]
        self._next_pass_ms = 0
        self._left: list[Pruning[T]] = []
        self._from_id = uuid7_floor(0)
        self.rows: Counter[str] = Counter({pruning.table: 0 for pruning in self._prunings})
        self.passes = 0
        self.last_pass_ms = 0

    def run_once(self) -> float:
        """Prune one page and return the seconds to rest; if the store is unavailable, try again later."""
        try:
            return self.prune_page()
        except StoreUnavailable as error:
            log.warning("pruning_failed", error=str(error))
            return REST_MAX_S

    def prune_page(self) -> float:
        """Prune one page if a pass is due or under way; return how many seconds to rest."""
        now_ms = self._monotonic_ms()
        if not self._left:
            if now_ms < self._next_pass_ms:
                return min(REST_MAX_S, (self._next_pass_ms - now_ms) / 1000)
            self._left, self._from_id = list(self._prunings), uuid7_floor(0)
        with self._store.transaction() as tx:
            if not tx.take_lease(LEASE, self._instance, LEASE_MS):
                self._left, self._next_pass_ms = [], now_ms + self._every_ms
                return PAUSE_S
            database_ms = tx.now_ms()
            pruned = self._prune(tx, self._left[0], database_ms)
        self.rows[self._left[0].table] += pruned.rows
        self._from_id = pruned.next_id or uuid7_floor(0)
        if not pruned.next_id:
            self._left.pop(0)
        if not self._left:
            self.passes += 1
            self.last_pass_ms = database_ms
            self._next_pass_ms = now_ms + self._every_ms
        return PAUSE_S

    def _prune(self, tx: T, pruning: Pruning[T], now_ms: int) -> Pruned:
        oldest_kept_ms = now_ms - pruning.keep_ms
        page = PrunePage(self._from_id, uuid7_floor(oldest_kept_ms), oldest_kept_ms, PAGE_ROWS)
        pruned = pruning.prune(tx, page)
        if pruned.rows and pruning.by_key:
            tx.note_pruned(pruning.table, page.before_id, pruned.rows)
        return pruned


def _prune_parked(tx: Transaction, page: PrunePage) -> Pruned:
    return tx.prune_parked(page)


def fences(step: str, keep_ms: int, states: Collection[FenceState] = ENDED_STEP) -> Pruning[Any]:
    """Return the pruning of a participant's fence rows that are in one of these final states."""
    return Pruning("fence", keep_ms, lambda tx, page: tx.prune_fences(step, states, page))
