"""The relay: publishes committed outbox batches in order, from memory; rows are the safety net.

Duplicates are fine (ids are deterministic), holes are not: a row is deleted only after the bus has it.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from threading import Condition

import structlog

from holdfast.bus.port import BusUnavailable, Message, MessageRefused, PublishFailed
from holdfast.messaging.backoff import backoff_ms
from holdfast.messaging.producer import BreakerOpen, ProducerManager
from holdfast.messaging.unit_of_work import Committed

PUBLISH_MESSAGES_MAX = 2000
PUBLISH_MESSAGES_MIN = 5
"""As many requests may be under way to one broker of Kafka, and each partition needs one of its own."""

RETRY_BASE_MS = 100
RETRY_CAP_MS = 5_000

log = structlog.get_logger(__name__)


class Relay:
    """The queue between the threads that commit and the one that publishes."""

    def __init__(self, producer: ProducerManager, instance: str) -> None:
        self.producer = producer
        self.instance = instance
        self._ready = Condition()
        self._waiting: deque[tuple[int, list[Message]]] = deque()
        self._under_way: tuple[tuple[int, list[Message]], ...] = ()
        self._published: list[int] = []
        self._room = PUBLISH_MESSAGES_MAX
        self._failures = 0
        self._closed_for_s = 0.0
        self._stopped = False

    def submit(self, committed: Committed) -> None:
        """Queue what a transaction appended; call in the order of the commits."""
        if committed.outbox_id:
            self.submit_rows([(committed.outbox_id, committed.messages)])

    def submit_rows(self, rows: Iterable[tuple[int, list[Message]]]) -> None:
        """Queue rows that were read back from the outbox, unless they are queued or published already."""
        with self._ready:
            held = self._held()
            self._waiting.extend(row for row in rows if row[0] not in held)
            self._ready.notify()

    def step(self, timeout_s: float) -> bool:
        """Publish what is queued, at most `PUBLISH_MESSAGES_MAX` and one batch; False if nothing could be.

        After a failure the batches stay first in the queue; the caller rests for `retry_after_ms`. Then fewer
        are tried: a slow bus may acknowledge a few in the time that a delivery has, but never so many.
        """
        batches = self._take(timeout_s)
        if not batches:
            return False
        self._closed_for_s = 0.0
        try:
            self.producer.publish([message for _, batch in batches for message in batch])
        except BreakerOpen as error:  # nothing was tried: no attempt is spent
            self._closed_for_s = error.retry_after_s
            self._give_back(batches)
            return False
        except (BusUnavailable, PublishFailed) as error:
            self._failures += 1
            self._room = max(PUBLISH_MESSAGES_MIN, sum(len(batch) for _, batch in batches) // 2)
            log.warning("publish_failed", error=str(error), failures=self._failures, batches=len(batches))
            self._give_back(batches)
            return False
        except MessageRefused:
            return self._publish_singly(batches)
        self._failures = 0
        self._room = min(PUBLISH_MESSAGES_MAX, self._room + self._room // 4)
        self._done(batches)
        return True

    def take_published(self) -> list[int]:
        """Take the ids of rows that can be deleted; give them back if the deletion fails."""
        with self._ready:
            taken, self._published = self._published, []
            return taken

    def give_back_published(self, ids: Sequence[int]) -> None:
        """Undo `take_published`."""
        with self._ready:
            self._published.extend(ids)

    def has_published(self) -> bool:
        """Tell whether rows wait for deletion."""
        return bool(self._published)

    def is_idle(self) -> bool:
        """Tell whether nothing is queued or under way."""
        with self._ready:
            return not self._waiting and not self._under_way

    def waiting(self) -> int:
        """Return how many batches are queued or under way."""
        with self._ready:
            return len(self._waiting) + len(self._under_way)

    @property
    def failures_in_a_row(self) -> int:
        """Return how many attempts have failed since one succeeded."""
        return self._failures

    def retry_after_ms(self) -> int:
        """Return how long to rest before the next attempt: growing and jittered, 0 after a success.

        Where the breaker refuses: until it admits a probe.
        """
        if self._closed_for_s:
            return int(self._closed_for_s * 1000)
        if not self._failures:
            return 0
        return backoff_ms(self._failures, RETRY_BASE_MS, RETRY_CAP_MS, self.instance)

    def stop(self) -> None:
        """Wake a waiting `step`."""
        with self._ready:
            self._stopped = True
            self._ready.notify_all()

    def _held(self) -> set[int]:
        rows = (*self._waiting, *self._under_way)
        return {row_id for row_id, _ in rows}.union(self._published)

    def _take(self, timeout_s: float) -> tuple[tuple[int, list[Message]], ...]:
        with self._ready:
            if not self._waiting and timeout_s > 0 and not self._stopped:
                self._ready.wait(timeout_s)
            taken, count = [], 0
            while self._waiting and count < self._room:
                taken.append(self._waiting.popleft())
                count += len(taken[-1][1])
            self._under_way = tuple(taken)
            return self._under_way

    def _give_back(self, batches: Sequence[tuple[int, list[Message]]]) -> None:
        with self._ready:
            self._waiting.extendleft(reversed(batches))
            self._under_way = ()

    def _done(self, batches: Sequence[tuple[int, list[Message]]]) -> None:
        with self._ready:
            self._published.extend(row_id for row_id, _ in batches)
            self._under_way = ()

    def _publish_singly(self, batches: Sequence[tuple[int, list[Message]]]) -> bool:
        """Let the other rows pass one that the bus refuses.

        That one stays in the outbox and comes back with the lying rows: it neither holds up the others nor is
        lost to whoever mends its reason. The outbox's age tells of it.
        """
        passed: list[tuple[int, list[Message]]] = []
        for position, (row_id, batch) in enumerate(batches):
            try:
                self.producer.publish(batch)
            except MessageRefused as error:
                log.error("row_refused", outbox_id=row_id, messages=len(batch), error=str(error))  # noqa: TRY400
            except (BusUnavailable, PublishFailed) as error:
                self._failures += 1
                log.warning("publish_failed", error=str(error), failures=self._failures)
                self._done(passed)
                self._give_back(batches[position:])
                return bool(passed)
            else:
                passed.append((row_id, batch))
        self._failures = 0
        self._done(passed)
        return bool(passed)
