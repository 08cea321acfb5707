"""The port to the orchestrator's database: sagas, their histories, and ignored events."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from holdfast.messaging.store import Pruned, PrunePage, Transaction
from holdfast.saga.state import SagaInstance


class HistoryRow(NamedTuple):
    """One event that changed a saga, with the path of states that it led through."""

    saga_id: str
    seq: int
    event_id: str
    kind: str
    payload: bytes
    path: tuple[str, ...]
    at_ms: int


class IgnoredRow(NamedTuple):
    """An event that changed nothing, and why."""

    saga_id: str
    event_id: str
    kind: str
    reason: str


class IgnoredEvent(NamedTuple):
    """An event that changed nothing, how often it came, and when."""

    event_id: str
    kind: str
    reason: str
    times: int
    first_ms: int
    last_ms: int


class SagaFilter(NamedTuple):
    """Which sagas to list: a range of keys and, if given, states, a reason, only stalled or open ones."""

    from_id: str
    before_id: str
    states: tuple[str, ...] = ()
    reason: str = ""
    stalled: bool = False
    only_open: bool = False


class StateCount(NamedTuple):
    """How many open sagas are in a state, how many of them are stalled, and when the oldest began."""

    state: str
    sagas: int
    stalled: int
    oldest_ms: int


class SagaTransaction(Transaction, Protocol):
    """The kernel's transaction and the orchestrator's own tables."""

    def lock_sagas(self, saga_ids: Collection[str], may_be_new: Collection[str]) -> dict[str, SagaInstance]:
        """Lock these sagas in sorted order, also absent ones in `may_be_new`; return those that exist."""

    def processed_event_ids(self, pairs: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        """Return which of these (saga id, event id) pairs are in the history."""

    def save_sagas(self, rows: Collection[SagaInstance], unused: Collection[str]) -> None:
        """Write rows over older versions, or raise StoreUnavailable; `unused` are locked keys without one."""

    def append_history(self, rows: Sequence[HistoryRow]) -> None:
        """Append events that changed sagas."""

    def count_ignored(self, rows: Sequence[IgnoredRow]) -> None:
        """Record each ignored event once, with how often it came."""

    def prune_sagas(self, states: Collection[str], page: PrunePage) -> Pruned:
        """Delete this page's sagas in one of these states with all their rows, except locked ones."""

    def read_saga(self, saga_id: str) -> SagaInstance | None:
        """Return a saga without locking it."""

    def read_sagas(self, saga_ids: Collection[str]) -> dict[str, SagaInstance]:
        """Return those of these sagas that exist, without locking them."""

    def read_paths(self, saga_ids: Collection[str]) -> dict[str, list[HistoryRow]]:
        """Return the histories of these sagas, oldest first, with empty payloads.

        Deadlines that passed and led to no other state are left out.
        """

    def saga_ids(self, saga_filter: SagaFilter, limit: int, *, newest_first: bool) -> list[str]:
        """Return the first keys of the range, of open sagas only if `only_open`; other criteria are not used.

        Open sagas are found by their deadlines, so that no index has to follow every change of state.
        """

    def matching_sagas(self, saga_filter: SagaFilter, saga_ids: Collection[str]) -> frozenset[str]:
        """Return which of these sagas match the states, the reason and `stalled` of the filter."""

    def count_open(self, partitions: Collection[int]) -> list[StateCount]:
        """Count the sagas that have deadlines in these partitions, by state."""

    def read_ignored(self, saga_id: str) -> list[IgnoredEvent]:
        """Return the events of a saga that changed nothing, in the order of their ids."""

    def read_history(self, saga_id: str) -> list[HistoryRow]:
        """Return the history of a saga, oldest first."""
