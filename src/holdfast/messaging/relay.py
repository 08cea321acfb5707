"""The relay: publishes committed outbox batches in order, from memory; the outbox's rows are the safety net.

Publishing twice is harmless (ids are deterministic), losing a message is not: a row is deleted only after the
bus has it. Messages that the bus does not take while it takes others wait by saga and delay no other saga.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from threading import Condition

import structlog

from holdfast.bus.port import BusUnavailable, Message, MessageRefused, PublishFailed
from holdfast.messaging.backoff import backoff_ms
from holdfast.messaging.batch_processor import Committed
from holdfast.messaging.producer import BreakerOpen, ProducerManager
from holdfast.messaging.undelivered import RowMessage, Undelivered

PUBLISH_MESSAGES_MAX = 2000
PUBLISH_MESSAGES_MIN = 5
"""Kafka allows this many requests under way to one broker, and each partition needs a request of its own."""

RETRY_AT_ONCE_MAX = 500
SET_ASIDE_AFTER = 8
"""If the first messages of the queue all fail more often in a row, they are set aside for those behind."""

RETRY_BASE_MS = 100
RETRY_CAP_MS = 5_000

log = structlog.get_logger(__name__)


class Relay:
    """The queue between the threads that commit and the thread that publishes.

    `run_once` retries undelivered messages when nothing else is queued, unless `retry_with` was called.
    """

    def __init__(
        self, producer: ProducerManager, instance: str, monotonic_ms: Callable[[], int] = lambda: 0
    ) -> None:
        self.producer = producer
        self.instance = instance
        self._retry_producer: ProducerManager | None = None
        self._monotonic_ms = monotonic_ms
        self._undelivered = Undelivered(instance)
        self._ready = Condition()
        self._waiting: deque[tuple[int, list[Message]]] = deque()
        self._under_way: tuple[tuple[int, list[Message]], ...] = ()
        self._published: list[int] = []
        self._batch_size = PUBLISH_MESSAGES_MAX
        self._failures = 0
        self._breaker_retry_s = 0.0
        self._stopped = False

    def retry_with(self, producer: ProducerManager) -> None:
        """Leave `retry` to another thread, with this producer: each attempt may take a delivery timeout."""
        self._retry_producer = producer

    def submit(self, committed: Committed) -> None:
        """Queue the batch that a transaction appended; call this in the order of the commits."""
        if committed.outbox_id:
            self.submit_rows([(committed.outbox_id, committed.messages)])

    def submit_rows(self, rows: Iterable[tuple[int, list[Message]]]) -> None:
        """Queue rows that were read back from the outbox, unless they are queued or published already.

        If a row has undelivered messages, these are tried again soon.
        """
        with self._ready:
            held = self._held()
            for row in rows:
                if row[0] in self._undelivered.rows():
                    self._undelivered.wake()
                elif row[0] not in held:
                    self._waiting.append(row)
            self._ready.notify()

    def run_once(self, timeout_s: float) -> bool:
        """Publish what is queued, at most `PUBLISH_MESSAGES_MAX` and one batch; False if nothing could be.

        After a failure the batches stay first in the queue, and the caller rests for `retry_after_ms`. Then
        fewer are tried: a slow bus may acknowledge a few within the delivery timeout, but not so many.
        """
        batches = self._take(timeout_s)
        if not batches:
            return self._retry_producer is None and self.retry()
        self._breaker_retry_s = 0.0
        messages = [(row_id, message) for row_id, batch in batches for message in batch]
        try:
            self.producer.publish([message for _, message in messages])
        except BreakerOpen as error:  # nothing was tried: no attempt is spent
            self._breaker_retry_s = error.retry_after_s
            self._give_back(batches)
            return False
        except (BusUnavailable, PublishFailed) as error:
            missing = error.missing if isinstance(error, PublishFailed) else frozenset[int]()
            in_part = 0 < len(missing) < len(messages)
            self._failures = 0 if in_part else self._failures + 1
            if in_part or (missing and self._failures > SET_ASIDE_AFTER):
                log.warning("messages_undelivered", error=str(error), messages=len(missing))
                self._done(messages, missing)
                return in_part
            self._batch_size = max(PUBLISH_MESSAGES_MIN, len(messages) // 2)
            log.warning("publish_failed", error=str(error), failures=self._failures, batches=len(batches))
            self._give_back(batches)
            return False
        except MessageRefused:
            return self._pass_refused(messages)
        if self._failures:
            self._undelivered.wake()  # the bus is back
        self._failures = 0
        self._batch_size = min(PUBLISH_MESSAGES_MAX, self._batch_size + self._batch_size // 4)
        self._done(messages)
        return True

    def retry(self) -> bool:
        """Publish undelivered messages again if they are due; False if none could be published."""
        with self._ready:
            if not self._undelivered.is_due(self._monotonic_ms()):
                return False
            tried = self._undelivered.take(RETRY_AT_ONCE_MAX)
        producer = self._retry_producer or self.producer
        missing: Collection[int] = range(len(tried))
        try:
            producer.publish([message for _, message in tried])
            missing = ()
        except PublishFailed as error:
            missing = error.missing or missing
        except MessageRefused:
            missing, _ = _publish_by_halves(producer, tried)
        except BusUnavailable as error:
            log.warning("retry_failed", error=str(error), messages=len(tried))
        with self._ready:
            gone = self._undelivered.settle(tried, missing, self._monotonic_ms())
            in_line = {row_id for row_id, _ in (*self._waiting, *self._under_way)}
            self._published.extend(row_id for row_id in gone if row_id not in in_line)
        return len(missing) < len(tried)

    def take_published(self) -> list[int]:
        """Take the ids of rows that can be deleted; the caller gives them back if the deletion fails."""
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
        """Tell whether nothing is queued or under way and no undelivered message is due."""
        with self._ready:
            due = self._undelivered.is_due(self._monotonic_ms())
            return not self._waiting and not self._under_way and not due

    def waiting(self) -> int:
        """Return how many batches are queued or under way, undelivered messages not counted."""
        with self._ready:
            return len(self._waiting) + len(self._under_way)

    def undelivered(self) -> int:
        """Return how many messages wait because the bus took others, but not them or an earlier one."""
        with self._ready:
            return len(self._undelivered)

    def undelivered_rows(self) -> list[int]:
        """Return the ids of the outbox rows that have undelivered messages."""
        with self._ready:
            return list(self._undelivered.rows())

    def close(self) -> None:
        """Close the producers."""
        self.producer.close()
        if self._retry_producer is not None:
            self._retry_producer.close()

    @property
    def failures_in_a_row(self) -> int:
        """Return how many attempts have failed since one succeeded."""
        return self._failures

    def retry_after_ms(self) -> int:
        """Return how long to rest before the next attempt: growing and jittered, 0 after a success.

        If the breaker refused the last attempt, return the time until it admits a probe.
        """
        if self._breaker_retry_s:
            return int(self._breaker_retry_s * 1000)
        if not self._failures:
            return 0
        return backoff_ms(self._failures, RETRY_BASE_MS, RETRY_CAP_MS, self.instance)

    def stop(self) -> None:
        """Wake a waiting `run_once`."""
        with self._ready:
            self._stopped = True
            self._ready.notify_all()

    def _held(self) -> set[int]:
        rows = (*self._waiting, *self._under_way)
        return {row_id for row_id, _ in rows}.union(self._published, self._undelivered.rows())

    def _take(self, timeout_s: float) -> tuple[tuple[int, list[Message]], ...]:
        with self._ready:
            if not self._waiting and timeout_s > 0 and not self._stopped:
                self._ready.wait(timeout_s)
            taken, count = [], 0
            while self._waiting and count < self._batch_size:
                row_id, batch = self._waiting.popleft()
                free = self._undelivered.pass_over(row_id, batch)
                if free:
                    taken.append((row_id, free))
                    count += len(free)
            self._under_way = tuple(taken)
            return self._under_way

    def _give_back(self, batches: Sequence[tuple[int, list[Message]]]) -> None:
        with self._ready:
            self._waiting.extendleft(reversed(batches))
            self._under_way = ()

    def _done(self, messages: Sequence[RowMessage], missing: Collection[int] = ()) -> None:
        """Note these as published, except those at the indexes `missing`, which wait from now on."""
        with self._ready:
            now_ms = self._monotonic_ms()
            self._undelivered.add((messages[index] for index in sorted(missing)), now_ms)
            unfinished = {row_id for row_id, _ in self._waiting}.union(self._undelivered.rows())
            rows = dict.fromkeys(row_id for row_id, _ in messages)
            self._published.extend(row_id for row_id in rows if row_id not in unfinished)
            self._under_way = ()

    def _pass_refused(self, messages: Sequence[RowMessage]) -> bool:
        """Publish all messages except those that the bus refuses and later ones of the same sagas.

        The exceptions wait until an operator removes the cause; the outbox's age shows it.
        """
        refused, left = _publish_by_halves(self.producer, messages)
        settled = [index for index in range(len(messages)) if index not in left]
        settled_index = {index: number for number, index in enumerate(settled)}
        self._failures = self._failures + 1 if left else 0
        back: dict[int, list[Message]] = {}
        for index in sorted(left):
            back.setdefault(messages[index][0], []).append(messages[index][1])
        with self._ready:
            self._waiting.extendleft(reversed(back.items()))
        self._done([messages[index] for index in settled], {settled_index[index] for index in refused})
        return len(refused) + len(left) < len(messages)


def _publish_by_halves(
    producer: ProducerManager, messages: Sequence[RowMessage]
) -> tuple[set[int], set[int]]:
    """Publish what the bus takes; return the indexes of the refused messages and of those not tried.

    A message behind a refused one of its saga counts as refused. All are tried unless the bus fails.
    """
    refused: set[int] = set()
    sagas: set[bytes] = set()
    todo: list[Sequence[int]] = [range(len(messages))]
    while todo:
        indexes = [index for index in todo[-1] if messages[index][1].key not in sagas]
        refused.update(set(todo.pop()).difference(indexes))
        if not indexes:
            continue
        try:
            producer.publish([messages[index][1] for index in indexes])
        except MessageRefused as error:
            if len(indexes) == 1:
                row_id, message = messages[indexes[0]]
                reason = str(error)
                log.error("publish_refused", outbox_id=row_id, topic=message.topic, error=reason)  # noqa: TRY400
                refused.add(indexes[0])
                sagas.add(message.key)
            else:
                middle = len(indexes) // 2
                todo += [indexes[middle:], indexes[:middle]]
        except (BusUnavailable, PublishFailed) as error:
            log.warning("publish_failed", error=str(error), messages=len(indexes))
            return refused, set(indexes).union(*todo)
    return refused, set()
