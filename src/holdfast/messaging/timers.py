"""Deadlines: which timers are due, and when silence has lasted long enough to be believed.

A timer fires by the database's clock, on the process that owns its partition; never by comparing machines.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from holdfast.bus.port import Consumer, TopicPartition
from holdfast.messaging.backoff import backoff_ms
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.handler import Handled
from holdfast.messaging.producer import ProducerManager
from holdfast.messaging.store import TimerRow, Transaction

DEADLINE = "deadline"
RESOLVE = "resolve"
FIRINGS_BEFORE_OVERDUE = 2
LATE_AFTER_MS_MIN = 2_000
"""A writer looks for due timers twice a second, and between two looks handles one batch."""


class FiredTimer(NamedTuple):
    """A due timer. `overdue`: fired often and long enough, and what it sent had its chance of an answer.

    `sound`: nothing on our side can explain the silence, so that the time that has passed counts.
    """

    row: TimerRow
    overdue: bool
    end_offset: int
    sound: bool = True


@dataclass(frozen=True)
class TimerSettings:
    """When to re-send and when to lose patience; all in milliseconds."""

    resend_after_ms: int = 5_000
    backoff_cap_ms: int = 30_000
    patience_ms: int = 30_000
    patience_of_step_ms: Mapping[str, int] = field(default_factory=lambda: {"payment": 300_000})
    horizon_ms: int = 120_000
    late_after_ms: int = 10_000
    fire_at_once_max: int = 200

    def __post_init__(self) -> None:
        if self.horizon_ms <= self.backoff_cap_ms or self.horizon_ms <= self.resend_after_ms:
            raise ValueError("horizon_ms must be above backoff_cap_ms and resend_after_ms")
        if self.late_after_ms < LATE_AFTER_MS_MIN:
            raise ValueError(f"late_after_ms must be at least {LATE_AFTER_MS_MIN}, or no firing is in time")

    def again(self, fired: FiredTimer, now_ms: int) -> TimerRow:
        """Return the row for the firing after this one; after one that was not sound patience begins anew."""
        row = fired.row
        seed = ":".join(row.key)
        due_ms = now_ms + backoff_ms(row.fired + 1, self.resend_after_ms, self.backoff_cap_ms, seed)
        since_ms = row.since_ms if fired.sound else due_ms
        return row._replace(
            since_ms=since_ms, due_ms=due_ms, fired=row.fired + 1, end_offset=fired.end_offset
        )

    def patience(self, step: str) -> int:
        """Return how long an answer to `step` may take."""
        return self.patience_of_step_ms.get(step, self.patience_ms)


class Deadlines:
    """The writer's chore that fires due timers of the partitions it owns.

    `fire` is the service's handler for them. A firing may undo only after two others, past the step's
    patience, and when it is sound: what the last one sent has left and could have been answered, the breaker
    is closed, and the firing is in time. A late one tells that we were away or that the clock has jumped; it
    only sends again, like every firing that is not sound, and patience begins anew with the next. Nor is
    anything undone for one wait after the writer or the relay had trouble: answers may still be on their way.
    """

    def __init__(
        self,
        settings: TimerSettings,
        events_topic: str,
        fire: Callable[..., Handled],
        producer: ProducerManager,
    ) -> None:
        self._settings = settings
        self._topic = events_topic
        self._fire = fire
        self._producer = producer
        self._troubles = 0
        self._trouble_ms = 0

    def run(self, manager: "KafkaConsumerManager[Any]") -> None:
        """Fire what is due now."""
        owned = manager.partitions()
        if not owned:
            return
        found: list[TimerRow] = []

        def look(tx: Transaction) -> Handled:
            found.extend(self._due(tx, owned))
            return Handled()

        manager.commit(look)
        if not found:
            return
        ends, positions = self._offsets(manager.consumer, {row.partition for row in found})

        def fire(tx: Transaction) -> Handled:
            due = self._due(tx, owned)
            unsent = tx.outbox_holds({row.outbox_id for row in due if row.outbox_id})
            now_ms = tx.now_ms()
            quiet = self._is_quiet(manager, now_ms)
            timers = []
            for row in due:
                if row.partition not in ends:
                    continue
                heard = row.outbox_id not in unsent and positions[row.partition] >= row.end_offset
                sound = heard and self._is_in_time(row, now_ms) and not self._producer.is_open()
                overdue = sound and quiet and self._is_overdue(row, now_ms)
                timers.append(FiredTimer(row, overdue, ends[row.partition], sound))
            return self._fire(tx, timers) if timers else Handled()

        manager.commit(fire, at="timers")

    def _due(self, tx: Transaction, owned: frozenset[int]) -> list[TimerRow]:
        return tx.due_timers(DEADLINE, owned, self._settings.horizon_ms, self._settings.fire_at_once_max)

    def _is_quiet(self, manager: "KafkaConsumerManager[Any]", now_ms: int) -> bool:
        """Tell whether the writer has worked and the relay has published without trouble for some time."""
        if manager.counters.troubles != self._troubles or manager.relay.retry_after_ms():
            self._troubles, self._trouble_ms = manager.counters.troubles, now_ms
        return not 0 <= now_ms - self._trouble_ms < self._settings.backoff_cap_ms

    def _is_in_time(self, row: TimerRow, now_ms: int) -> bool:
        return 0 <= now_ms - row.due_ms <= self._settings.late_after_ms

    def _is_overdue(self, row: TimerRow, now_ms: int) -> bool:
        waited = now_ms - row.since_ms
        return row.fired >= FIRINGS_BEFORE_OVERDUE and waited >= self._settings.patience(row.key.step)

    def _offsets(self, consumer: Consumer, partitions: set[int]) -> tuple[dict[int, int], dict[int, int]]:
        """Ask the bus outside any transaction: what will come next, and what we have consumed."""
        places = {p: TopicPartition(self._topic, p) for p in partitions}
        ends = {p: consumer.end_offset(place) for p, place in places.items()}
        return ends, {p: consumer.committed(place) for p, place in places.items()}
