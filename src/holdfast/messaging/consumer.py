"""KafkaConsumerManager: a process's one writer. Poll, one transaction, hand to the relay, then offsets.

The name is the seed's; it drives any bus behind the port. It waits until a transient failure is over, parks
a message that makes the handler fail, and defers a message that needs a row which another transaction holds.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from holdfast.bus.partitioner import misplaced
from holdfast.bus.port import (
    Bus,
    BusUnavailable,
    Consumer,
    NotOwner,
    RebalanceListener,
    Record,
    TopicPartition,
)
from holdfast.messaging.backoff import backoff_ms
from holdfast.messaging.batch_processor import BatchProcessor, Committed
from holdfast.messaging.crashpoints import crashpoint
from holdfast.messaging.deferred import RETRY_WAIT_MS, SEARCH_WAIT_MS, DeferredRecords
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.periodic_task import PeriodicTask
from holdfast.messaging.poison import CrashCounter, RecordBatch
from holdfast.messaging.relay import Relay
from holdfast.messaging.store import RowsUnavailable, StatementFailed, StoreUnavailable, Transaction
from holdfast.messaging.writer_tasks import WriterTasks

BATCH_MAX = 500
TROUBLE_BASE_MS = 50
TROUBLE_CAP_MS = 5_000
ASIDE_WAIT_MS = 500
"""How long a periodic task or an operator's request waits for each lock: messages wait behind it."""
KILLS = "kills_the_process"
STATEMENT_FAILED = "statement_failed"

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=Transaction)


@dataclass
class Counters:
    """Counts of what the manager has done since the process started, for metrics and health."""

    records: int = 0
    batches: int = 0
    handled: int = 0
    parked: int = 0
    transient_failures: int = 0
    fenced_commits: int = 0
    tasks_postponed: int = 0
    misplaced: int = 0


class KafkaConsumerManager(Generic[T]):
    """Owns the consumer and all writes that follow from messages, timers and operators' requests."""

    def __init__(
        self,
        bus: Bus,
        topics: Sequence[str],
        processor: BatchProcessor[T],
        relay: Relay,
        monotonic_ms: Callable[[], int],
        periodic_tasks: Sequence[PeriodicTask[T]] = (),
        group: str | None = None,
        partitions: int | None = None,
    ) -> None:
        self._partitions = partitions
        self._bus = bus
        self._topics = topics
        self._group = group or processor.service
        self.processor = processor
        self.relay = relay
        self._monotonic_ms = monotonic_ms
        self.tasks: WriterTasks[T] = WriterTasks(periodic_tasks)
        self.periodic_tasks = self.tasks.periodic
        self._consumer: Consumer | None = None
        self._uncommitted: dict[TopicPartition, int] = {}
        self._no_longer_owned: set[TopicPartition] = set()
        self._crash_counter = CrashCounter(processor)
        self.deferred = DeferredRecords(monotonic_ms, relay.instance)
        self._failures = 0
        self._takes_writes = False  # whether a probe has shown it in this round
        self.counters = Counters()
        self._owned: set[TopicPartition] = set()
        self._bus_lost = False
        self.joined = False
        """Whether the group assigned us partitions, and we have not lost all of them unasked since then."""
        self.after_batch: list[Callable[[], None]] = []

    @property
    def consumer(self) -> Consumer:
        """Return the consumer; the first use joins the group."""
        if self._consumer is None:
            callbacks = RebalanceListener(self._on_assigned, self._on_revoked, self._on_lost)
            self._consumer = self._bus.consumer(self._group, self._topics, callbacks)
        return self._consumer

    def run_once(self, timeout_s: float) -> int:
        """Do one round: operators' requests, due tasks, one batch. Return how many records were processed.

        A failure of database or bus is logged and shows in `retry_after_ms`; a bug in one message parks it.
        """
        try:
            self.tasks.serve_requests(self)
            self.tasks.run_due(self, self._monotonic_ms())
            if self.tasks.has_requests():
                timeout_s = 0
            if self.deferred:
                timeout_s = min(timeout_s, self.deferred.due_in_s())
            records = self.consumer.poll(BATCH_MAX, timeout_s)
        except (StoreUnavailable, BusUnavailable) as error:
            if isinstance(error, BusUnavailable) and not self._bus_lost:
                self._bus_lost = True
                log.warning("bus_connection_lost", error=str(error))
            self._note_failure("round_failed", error)
            return 0
        if self._bus_lost:
            self._bus_lost = False
            log.info("bus_connected_again")
        if not records and not self.deferred and not self.relay.has_published():
            self._failures = 0
            self._commit_offsets()
            return 0
        return self._process(records)

    def submit(self, work: Callable[[T], tuple[HandlerResult, Any]]) -> "Future[Any]":
        """Run `work` on the writer's thread, in a transaction; its second value is the future's result."""
        future = self.tasks.submit(work)
        self.wake()
        return future

    def hurry(self, name: str) -> None:
        """Make this periodic task due at once, and end a poll that is waiting. Safe from any thread."""
        self.tasks.hurry(name)
        self.wake()

    def commit(
        self, work: Callable[[T], HandlerResult], *, at: str = "task", lock_wait_ms: int = ASIDE_WAIT_MS
    ) -> Committed:
        """Run `work` in a transaction and hand what it appends to the relay. Only on the writer's thread."""
        committed = self.processor.commit(work, at=at, lock_wait_ms=lock_wait_ms)
        self.relay.submit(committed)
        return committed

    def partitions(self) -> frozenset[int]:
        """Return the numbers of the assigned partitions: this process runs the timers of their sagas."""
        return frozenset(assigned.partition for assigned in self.consumer.assignment())

    @property
    def failures_in_a_row(self) -> int:
        """Return how many rounds have failed since the last one that succeeded."""
        return self._failures

    def wake(self) -> None:
        """End a poll that is waiting now. Safe from any thread."""
        if self._consumer is not None:
            self._consumer.wake()

    def retry_after_ms(self) -> int:
        """Return how long to wait before the next round; 0 if the last one succeeded."""
        if not self._failures:
            return 0
        seed = f"{self._group}:{self.relay.instance}"  # instances that failed together try again one by one
        return backoff_ms(self._failures, TROUBLE_BASE_MS, TROUBLE_CAP_MS, seed)

    def restart(self, place: TopicPartition) -> None:
        """Read this partition of a topic made anew from its beginning. Only on the writer's thread."""
        self.deferred.drop({place})
        self._uncommitted.pop(place, None)
        self.consumer.restart(place)

    def close(self) -> None:
        """Leave the group. The next owner reads again what was not committed."""
        self._uncommitted.clear()
        self.deferred.drop(self.deferred.places())
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            try:
                consumer.close()
            except BusUnavailable as error:
                log.warning("group_not_left", error=str(error))

    # -- one batch

    def _process(self, records: list[Record]) -> int:
        """Process the records of one poll as one batch; if that fails, in ever smaller batches, in order."""
        self._no_longer_owned.clear()
        self._takes_writes = False
        self._count_misplaced(records)
        retried = self.deferred.begin_round()
        todo, done = [RecordBatch(records)], 0
        try:
            todo = self._batches_to_try(records, retried)
            while todo:
                todo[-1] = todo[-1].without(self._no_longer_owned) if self._no_longer_owned else todo[-1]
                todo[-1] = todo[-1]._replace(records=self.deferred.pass_over(todo[-1].records))
                try:
                    committed = self._run_or_park(todo[-1])
                except RowsUnavailable as error:
                    todo[-1:] = reversed(self._halve_or_defer(todo[-1], error))
                    continue
                batch = todo.pop()
                if committed is None:
                    todo.extend(reversed(batch.bisect()))
                else:
                    self._settle(batch.records, committed)
                    done += len(batch.records)
        except StoreUnavailable as error:
            self._rewind([record for batch in todo for record in batch.records])
            self._note_failure("batch_failed", error)
        self.deferred.end_round()
        return done

    def _count_misplaced(self, records: Sequence[Record]) -> None:  # they are processed like any others
        for record in misplaced(records, self._partitions) if self._partitions else ():
            self.counters.misplaced += 1
            log.error("record_misplaced", **record.place._asdict(), offset=record.offset)

    def _batches_to_try(self, records: list[Record], retried: list[Record]) -> list[RecordBatch]:
        """Return batches to try, the last first: deferred records, then new ones. Raises StoreUnavailable.

        While records are deferred, some lock is known to be held: new messages then wait only a short time.
        """
        batches = self._crash_counter.batches(records)
        if not self.deferred:
            return batches
        batches = [batch._replace(lock_wait_ms=SEARCH_WAIT_MS) for batch in batches]
        if not retried:
            return batches
        alone, together = self.deferred.split_suspects(retried)
        singly = [RecordBatch([record], lock_wait_ms=SEARCH_WAIT_MS) for record in reversed(alone)]
        return [*batches, RecordBatch(together, lock_wait_ms=RETRY_WAIT_MS), *singly]

    def _halve_or_defer(self, batch: RecordBatch, error: RowsUnavailable) -> Sequence[RecordBatch]:
        """Find the records that fail: split the batch, or defer it if it cannot be split.

        A record that is to blame for a refused statement is parked. Raises StoreUnavailable if there is no
        record to defer, too many are deferred, or the database takes no writes at all.
        """
        if not batch.records:
            raise error
        refused = isinstance(error, StatementFailed)
        if refused and not self._takes_writes:
            self.processor.probe_writes()
            self._takes_writes = True
        if self.deferred.may_search() and len(batch.records) > 1:
            kinds = batch.by_kind(SEARCH_WAIT_MS) if refused else ()
            return kinds if len(kinds) > 1 else batch.halves_with_lock_wait(SEARCH_WAIT_MS)
        if refused and (count := self.deferred.refused(batch.records)):
            try:
                self._settle(batch.records, self._park(batch, STATEMENT_FAILED, str(error), count))
            except RowsUnavailable as parking_error:
                log.warning("parking_failed", error=str(parking_error))
            else:
                return ()
        if not self.deferred:
            log.warning("messages_deferred", error=str(error))
        self.deferred.add(batch.records)
        return ()

    def _run_or_park(self, batch: RecordBatch) -> Committed | None:
        """Process a batch, or park its one message; return None if it failed and can be halved.

        Raises StoreUnavailable: no message is at fault. Raises RowsUnavailable: its own rows are unavailable.
        """
        if (count := batch.crash_count) and batch.records:
            return self._park(batch, KILLS, f"{count} processes began with this message and ended", count)
        published = self.relay.take_published()
        try:
            return self.processor.run(batch.records, published, batch.lock_wait_ms)
        except StoreUnavailable:
            self.relay.give_back_published(published)
            raise
        except Exception as error:
            self.relay.give_back_published(published)
            if not batch.records:
                raise  # no message can be at fault
            if len(batch.records) == 1:
                detail = f"{type(error).__name__}: {error}"
                return self._park(batch, "handler_failed", detail, batch.failures + 1, traceback=True)
            log.warning("lot_refused", records=len(batch.records), error=type(error).__name__)
            return None

    def _park(
        self, batch: RecordBatch, reason: str, detail: str, attempts: int, *, traceback: bool = False
    ) -> Committed:
        """Park the one message that is at fault, so that its partition moves on."""
        (record,) = batch.records
        committed = self.processor.park(record, reason, detail, attempts)
        log.error(
            "message_parked",
            reason=reason,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            saga_id=(record.key or b"").decode("ascii", "backslashreplace")[:64],
            detail=None if traceback else detail,
            exc_info=traceback,
        )
        return committed

    def _settle(self, records: Sequence[Record], committed: Committed) -> None:
        """Hand the messages to the relay, then commit offsets: in this order, after the database's commit."""
        self._failures = 0
        self.relay.submit(committed)
        self.counters.batches += 1
        self.counters.records += len(records)
        self.counters.handled += committed.handled
        self.counters.parked += committed.parked
        if not records:
            return
        self._crash_counter.handled(records)
        if committed.handled:
            self.deferred.suspects.handled(records)
        self.deferred.remove(records)
        for wake in self.after_batch:
            wake()
        for record in records:  # one that was deferred may lie before others that are processed
            self._uncommitted[record.place] = max(self._uncommitted.get(record.place, 0), record.offset + 1)
        self._commit_offsets()

    def _commit_offsets(self) -> None:
        """Commit the offsets of what is processed, up to the first deferred record.

        A later round commits what the bus does not accept now, and what lies behind a deferred record.
        """
        if not self._uncommitted:
            return
        crashpoint("offsets.before_commit")
        try:
            self.consumer.commit(self.deferred.hold_back(self._uncommitted))
        except BusUnavailable as error:
            log.warning("offsets_not_committed", error=str(error))
            return
        except NotOwner as error:
            self.counters.fenced_commits += 1
            self._no_longer_owned.update(error.partitions)
            self.deferred.drop(error.partitions)
            log.warning("offsets_refused", partitions=sorted(error.partitions))
        held = self.deferred.places()
        self._uncommitted = {p: offset for p, offset in self._uncommitted.items() if p in held}
        crashpoint("offsets.after_commit")

    def _rewind(self, records: Sequence[Record]) -> None:
        """Go back to the committed offsets: these records, and the deferred ones there, are read again."""
        partitions = dict.fromkeys(record.place for record in records)
        self._uncommitted |= self.deferred.hold_back(
            {p: offset for p, offset in self._uncommitted.items() if p in partitions}
        )
        self.deferred.drop(partitions)
        for partition in partitions:
            try:
                self.consumer.rewind(partition)
            except BusUnavailable as error:
                # A member that joins anew starts at the committed offsets, so it skips no record.
                log.warning("rewind_failed", error=str(error))
                self.close()
                return

    # -- partitions and failures

    def _on_assigned(self, partitions: frozenset[TopicPartition]) -> None:
        self._owned |= partitions
        self.joined = True
        self._crash_counter.assigned(partitions)
        log.info("partitions_assigned", partitions=sorted(partitions))

    def _on_revoked(self, partitions: frozenset[TopicPartition]) -> None:
        self._forget_partitions(partitions)
        log.info("partitions_revoked", partitions=sorted(partitions))

    def _on_lost(self, partitions: frozenset[TopicPartition]) -> None:
        self._forget_partitions(partitions)
        self.joined = bool(self._owned)
        log.warning("partitions_lost", partitions=sorted(partitions))

    def _forget_partitions(self, partitions: frozenset[TopicPartition]) -> None:
        self._no_longer_owned.update(partitions)
        self._owned -= partitions
        self._crash_counter.released(partitions)
        self.deferred.drop(partitions)
        for partition in partitions:
            self._uncommitted.pop(partition, None)

    def _note_failure(self, event: str, error: Exception) -> None:
        self._failures += 1
        self.counters.transient_failures += 1
        log.warning(event, error=str(error), troubles=self._failures)
