"""Deadlines: which timers are due, and when a missing answer is taken as "it will not come".

A timer fires by its database's clock, on the process that owns its partition; clocks are not compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import structlog

from holdfast.bus.port import BusUnavailable, Consumer, TopicPartition
from holdfast.messaging.backoff import backoff_ms
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.deferred import SEARCH_WAIT_MS, SEARCHES_MAX
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.producer import ProducerManager
from holdfast.messaging.store import (
    RowsUnavailable,
    StatementFailed,
    StoreUnavailable,
    TimerKey,
    TimerRow,
    Transaction,
)

DEADLINE = "deadline"
RESOLVE = "resolve"
FIRINGS_BEFORE_OVERDUE = 2
FIRINGS_IN_A_ROW_MAX = 5
"""Batches in one run: firings must keep up with what is due, and still leave the writer time for messages."""
LATE_AFTER_MS_MIN = 2_000
"""The writer looks for due timers twice a second, and processes one batch between two looks."""

log = structlog.get_logger(__name__)


class FiredTimer(NamedTuple):
    """A due timer. `overdue`: sound, fired at least twice before, patience over, and no failure here lately.

    `sound`: nothing on our side explains the missing answer, so the time that has passed counts as patience.
    """

    row: TimerRow
    overdue: bool
    end_offset: int
    sound: bool = True


@dataclass(frozen=True)
class TimerSettings:
    """When to send a command again, and how long to wait for its answer; all in milliseconds."""

    resend_after_ms: int = 5_000
    backoff_cap_ms: int = 30_000
    patience_ms: int = 30_000
    patience_of_step_ms: Mapping[str, int] = field(default_factory=dict)
    horizon_ms: int = 120_000
    late_after_ms: int = 10_000
    fire_at_once_max: int = 200

    def __post_init__(self) -> None:
        if self.horizon_ms <= self.backoff_cap_ms or self.horizon_ms <= self.resend_after_ms:
            raise ValueError("horizon_ms must be above backoff_cap_ms and resend_after_ms")
        if self.late_after_ms < LATE_AFTER_MS_MIN:
            raise ValueError(f"late_after_ms must be at least {LATE_AFTER_MS_MIN}, or no firing is in time")

    def again(self, fired: FiredTimer, now_ms: int) -> TimerRow:
        """Return the row of the next firing; patience begins anew with it if this one was not sound."""
        row = fired.row
        seed = ":".join(row.key)
        due_ms = now_ms + backoff_ms(row.fired + 1, self.resend_after_ms, self.backoff_cap_ms, seed)
        since_ms = row.since_ms if fired.sound else due_ms
        return row._replace(
            since_ms=since_ms, due_ms=due_ms, fired=row.fired + 1, end_offset=fired.end_offset
        )

    def patience(self, step: str) -> int:
        """Return how long the answer to `step` may take, in milliseconds."""
        return self.patience_of_step_ms.get(step, self.patience_ms)


class Deadlines:
    """The writer's task that fires due timers of the partitions it owns; `fire` is the service's handler.

    A firing may undo only after two others, once the step's patience is over, and if it is sound: the command
    of the last firing has left the outbox and could have been answered, the breaker is closed, and the firing
    is in time. A late firing means that this process was away or that the clock jumped. A firing that is not
    sound only sends again, and patience begins anew with the next. For `backoff_cap_ms` after a transient
    failure of the writer or the relay nothing is undone either: answers may still be on their way.
    A bug that meets one saga holds up no other: its firing is put off, and `failed` counts it, for an alarm.
    A saga that another transaction holds is put off too, and is not counted.
    """

    def __init__(
        self,
        settings: TimerSettings,
        events_topic: str,
        fire: Callable[..., HandlerResult],
        producer: ProducerManager,
    ) -> None:
        self._settings = settings
        self._topic = events_topic
        self._fire = fire
        self._producer = producer
        self._failures_seen = 0
        self._failure_ms = 0
        self.failed = 0

    def run_once(self, manager: "KafkaConsumerManager[Any]") -> None:
        """Fire what is due now, for a bounded time."""
        for _ in range(FIRINGS_IN_A_ROW_MAX):
            if self._fire_batch(manager) < self._settings.fire_at_once_max:
                return

    def _fire_batch(self, manager: "KafkaConsumerManager[Any]") -> int:
        """Fire one batch of timers; return how many were due."""
        owned = manager.partitions()
        if not owned:
            return 0
        found: list[TimerRow] = []

        def read_due(tx: Transaction) -> HandlerResult:
            found.extend(self._due(tx, owned))
            return HandlerResult()

        manager.commit(read_due)
        if not found:
            return 0
        ends, committed = self._offsets(manager.consumer, {row.partition for row in found})

        def fire(tx: Transaction, only: TimerKey | None = None) -> HandlerResult:
            due = [row for row in self._due(tx, owned) if only in (None, row.key)]
            unsent = tx.outbox_holds({row.outbox_id for row in due if row.outbox_id})
            now_ms = tx.now_ms()
            quiet = self._is_quiet(manager, now_ms)
            timers = []
            for row in due:
                if row.partition not in ends:
                    continue
                answerable = row.outbox_id not in unsent and committed[row.partition] >= row.end_offset
                sound = answerable and self._is_in_time(row, now_ms) and not self._producer.is_open()
                overdue = sound and quiet and self._is_overdue(row, now_ms)
                timers.append(FiredTimer(row, overdue, ends[row.partition], sound))
            return self._fire(tx, timers) if timers else HandlerResult()

        try:
            manager.commit(fire, at="timers")
        except RowsUnavailable as error:
            log.warning("deadlines_locked", due=len(found), error=str(error))
            self._fire_singly(manager, found, fire)
        except (StoreUnavailable, BusUnavailable):
            raise
        except Exception:
            log.exception("deadlines_failed", due=len(found))
            self._fire_singly(manager, found, fire)
        return len(found)

    def _fire_singly(
        self, manager: "KafkaConsumerManager[Any]", due: list[TimerRow], fire: Callable[..., HandlerResult]
    ) -> None:
        """Fire these one by one and put off those that fail; stop after SEARCHES_MAX that are locked."""
        locked = 0
        for row in due:
            try:
                manager.commit(partial(fire, only=row.key), at="timers", lock_wait_ms=SEARCH_WAIT_MS)
            except RowsUnavailable as error:
                self.failed += isinstance(error, StatementFailed)
                wait_ms = self._settings.resend_after_ms
                manager.commit(partial(self._put_off, key=row.key, wait_ms=wait_ms))
                locked += 1
                if locked == SEARCHES_MAX:
                    return
            except (StoreUnavailable, BusUnavailable):
                raise
            except Exception:
                log.exception("deadline_failed", saga_id=row.key.saga_id, step=row.key.step)
                self.failed += 1
                wait_ms = self._settings.backoff_cap_ms
                manager.commit(partial(self._put_off, key=row.key, wait_ms=wait_ms))

    def _put_off(self, tx: Transaction, key: TimerKey, wait_ms: int) -> HandlerResult:
        rows = [row for row in tx.lock_timers(key.saga_id) if row.key == key]
        tx.set_timers([row._replace(due_ms=tx.now_ms() + wait_ms) for row in rows])
        return HandlerResult()

    def _due(self, tx: Transaction, owned: frozenset[int]) -> list[TimerRow]:
        return tx.due_timers(DEADLINE, owned, self._settings.horizon_ms, self._settings.fire_at_once_max)

    def _is_quiet(self, manager: "KafkaConsumerManager[Any]", now_ms: int) -> bool:
        """Tell whether writer and relay have had no transient failure for at least `backoff_cap_ms`."""
        if manager.counters.transient_failures != self._failures_seen or manager.relay.retry_after_ms():
            self._failures_seen, self._failure_ms = manager.counters.transient_failures, now_ms
        return not 0 <= now_ms - self._failure_ms < self._settings.backoff_cap_ms

    def _is_in_time(self, row: TimerRow, now_ms: int) -> bool:
        return 0 <= now_ms - row.due_ms <= self._settings.late_after_ms

    def _is_overdue(self, row: TimerRow, now_ms: int) -> bool:
        waited = now_ms - row.since_ms
        return row.fired >= FIRINGS_BEFORE_OVERDUE and waited >= self._settings.patience(row.key.step)

    def _offsets(self, consumer: Consumer, partitions: set[int]) -> tuple[dict[int, int], dict[int, int]]:
        """Ask the bus, outside any transaction, for the end offset and our committed offset of each."""
        named = {p: TopicPartition(self._topic, p) for p in partitions}
        ends = {p: consumer.end_offset(name) for p, name in named.items()}
        return ends, {p: consumer.committed(name) for p, name in named.items()}
