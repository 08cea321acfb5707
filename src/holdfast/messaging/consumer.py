"""KafkaConsumerManager: a process's one writer. Poll, one transaction, hand to the relay, then offsets.

Named for the seed; it drives any bus behind the port. Trouble is waited out, a culprit is parked, and what
needs a row that another transaction holds is deferred.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import structlog

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
from holdfast.messaging.store import RowsUnavailable, StoreUnavailable, Transaction

BATCH_MAX = 500
TROUBLE_BASE_MS = 50
TROUBLE_CAP_MS = 5_000
ASIDE_WAIT_MS = 500
"""How long chores and operators' requests wait for each lock: messages wait behind them."""
REQUESTS_IN_A_ROW_MAX = 20
KILLS = "kills_the_process"

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=Transaction)


@dataclass
class Counters:
    """What the manager has done since it began, for metrics and health."""

    records: int = 0
    batches: int = 0
    handled: int = 0
    parked: int = 0
    transient_failures: int = 0
    fenced_commits: int = 0
    chores_put_off: int = 0


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
    ) -> None:
        self._bus = bus
        self._topics = topics
        self._group = group or processor.service
        self.processor = processor
        self.relay = relay
        self._monotonic_ms = monotonic_ms
        self.periodic_tasks = list(periodic_tasks)
        self._consumer: Consumer | None = None
        self._requests: SimpleQueue[tuple[Callable[[T], tuple[HandlerResult, Any]], Future[Any]]] = (
            SimpleQueue()
        )
        self._uncommitted: dict[TopicPartition, int] = {}
        self._gone: set[TopicPartition] = set()
        self._starts = CrashCounter(processor)
        self.deferred = DeferredRecords(monotonic_ms, relay.instance)
        self._troubles = 0
        self.counters = Counters()
        self._owned: set[TopicPartition] = set()
        self._bus_lost = False
        self.joined = False
        """Whether the group gave us partitions, and we did not lose all of them since without being asked."""
        self.after_batch: list[Callable[[], None]] = []

    @property
    def consumer(self) -> Consumer:
        """Return the group membership, joining at first use."""
        if self._consumer is None:
            callbacks = RebalanceListener(self._on_assigned, self._on_revoked, self._on_lost)
            self._consumer = self._bus.consumer(self._group, self._topics, callbacks)
        return self._consumer

    def run_once(self, timeout_s: float) -> int:
        """Do one round: operators' requests, due chores, one batch. Return how many records it handled.

        Trouble of database or bus is logged and shows in `trouble_wait_ms`; a bug in one message parks it.
        """
        try:
            self._serve_requests()
            self._do_chores()
            if not self._requests.empty():
                timeout_s = 0
            if self.deferred:
                timeout_s = min(timeout_s, self.deferred.due_in_s())
            records = self.consumer.poll(BATCH_MAX, timeout_s)
        except (StoreUnavailable, BusUnavailable) as error:
            if isinstance(error, BusUnavailable) and not self._bus_lost:
                self._bus_lost = True
                log.warning("bus_connection_lost", error=str(error))
            self._trouble("round_failed", error)
            return 0
        if self._bus_lost:
            self._bus_lost = False
            log.info("bus_connected_again")
        if not records and not self.deferred and not self.relay.has_published():
            self._troubles = 0
            self._commit_offsets()
            return 0
        return self._process(records)

    def submit(self, work: Callable[[T], tuple[HandlerResult, Any]]) -> "Future[Any]":
        """Run `work` on the writer, in a transaction of its own; its second value is the future's result."""
        future: Future[Any] = Future()
        self._requests.put((work, future))
        self.wake()
        return future

    def commit(
        self, work: Callable[[T], HandlerResult], *, at: str = "chore", lock_wait_ms: int = ASIDE_WAIT_MS
    ) -> Committed:
        """Run `work` in a transaction and hand what it appends to the relay. For chores, on the writer."""
        committed = self.processor.commit(work, at=at, lock_wait_ms=lock_wait_ms)
        self.relay.submit(committed)
        return committed

    def partitions(self) -> frozenset[int]:
        """Return the partition numbers whose sagas are this process's to act on by time."""
        return frozenset(place.partition for place in self.consumer.assignment())

    @property
    def failures_in_a_row(self) -> int:
        """Return how many rounds have failed since one succeeded."""
        return self._troubles

    def wake(self) -> None:
        """End a poll that is under way. Safe from any thread."""
        if self._consumer is not None:
            self._consumer.wake()

    def retry_after_ms(self) -> int:
        """Return how long to wait before the next round, 0 when all is well."""
        if not self._troubles:
            return 0
        seed = f"{self._group}:{self.relay.instance}"  # instances in the same trouble come back one by one
        return backoff_ms(self._troubles, TROUBLE_BASE_MS, TROUBLE_CAP_MS, seed)

    def close(self) -> None:
        """Leave the group; what was not committed is read again by the next owner."""
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
        """Handle what one poll brought: in one batch, or where that fails in ever smaller lots, in order."""
        self._gone.clear()
        retried = self.deferred.begin_round()
        todo, done = [RecordBatch(records)], 0
        try:
            todo = self._lots(records, retried)
            while todo:
                todo[-1] = todo[-1].without(self._gone) if self._gone else todo[-1]
                todo[-1] = todo[-1]._replace(records=self.deferred.pass_over(todo[-1].records))
                try:
                    committed = self._try(todo[-1])
                except RowsUnavailable as error:
                    todo[-1:] = reversed(self._search(todo[-1], error))
                    continue
                lot = todo.pop()
                if committed is None:
                    todo.extend(reversed(lot.bisect()))
                else:
                    self._settle(lot.records, committed)
                    done += len(lot.records)
        except StoreUnavailable as error:
            self._rewind([record for lot in todo for record in lot.records])
            self._trouble("batch_failed", error)
        self.deferred.end_round()
        return done

    def _lots(self, records: list[Record], retried: list[Record]) -> list[RecordBatch]:
        """Say what to try, the last first: what was deferred, then what is new. Raises StoreUnavailable.

        As long as something is deferred, a lock is known to be held: new messages wait for it shortly.
        """
        lots = self._starts.batches(records)
        if not self.deferred:
            return lots
        lots = [lot._replace(lock_wait_ms=SEARCH_WAIT_MS) for lot in lots]
        return [*lots, RecordBatch(retried, lock_wait_ms=RETRY_WAIT_MS)] if retried else lots

    def _search(self, lot: RecordBatch, error: RowsUnavailable) -> Sequence[RecordBatch]:
        """Tell apart, by halves, whose rows are not to be had; these records are deferred.

        Raises StoreUnavailable where there is nobody to defer.
        """
        if not lot.records:
            raise error
        if self.deferred.may_search() and len(lot.records) > 1:
            return lot.halves_waiting(SEARCH_WAIT_MS)
        if not self.deferred:
            log.warning("messages_deferred", error=str(error))
        self.deferred.add(lot.records)
        return ()

    def _try(self, lot: RecordBatch) -> Committed | None:
        """Handle a lot, or park it when it is one message; None where it failed and can be halved.

        Raises StoreUnavailable: trouble blames nobody. RowsUnavailable: its own rows are not to be had.
        """
        if lot.crash_count and lot.records:
            return self._park(lot, KILLS, f"{lot.crash_count} processes began with this message and ended")
        published = self.relay.take_published()
        try:
            return self.processor.run(lot.records, published, lot.lock_wait_ms)
        except StoreUnavailable:
            self.relay.give_back_published(published)
            raise
        except Exception as error:
            self.relay.give_back_published(published)
            if not lot.records:
                raise  # there is nobody to blame
            if len(lot.records) == 1:
                return self._park(lot, "handler_failed", f"{type(error).__name__}: {error}")
            log.warning("lot_refused", records=len(lot.records), error=type(error).__name__)
            return None

    def _park(self, lot: RecordBatch, reason: str, detail: str) -> Committed:
        """Park the one message to blame; the partition flows on."""
        (record,) = lot.records
        log.error(
            "message_parked",
            reason=reason,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            saga_id=(record.key or b"").decode("ascii", "backslashreplace")[:64],
            exc_info=not lot.crash_count,
        )
        return self.processor.park(record, reason, detail, lot.crash_count or lot.failures + 1)

    def _settle(self, records: Sequence[Record], committed: Committed) -> None:
        """Hand over to the relay, then commit offsets: in this order, after the database's commit."""
        self._troubles = 0
        self.relay.submit(committed)
        self.counters.batches += 1
        self.counters.records += len(records)
        self.counters.handled += committed.handled
        self.counters.parked += committed.parked
        if not records:
            return
        self._starts.handled(records)
        self.deferred.remove(records)
        for wake in self.after_batch:
            wake()
        for record in records:  # one that was deferred may lie before others that are processed
            place = record.place
            self._uncommitted[place] = max(self._uncommitted.get(place, 0), record.offset + 1)
        self._commit_offsets()

    def _commit_offsets(self) -> None:
        """Commit what is processed, up to the first record that is deferred.

        What the bus does not take now, and what lies behind a deferred record, is left to a later round.
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
            self._gone.update(error.partitions)
            self.deferred.drop(error.partitions)
            log.warning("offsets_refused", partitions=sorted(error.partitions))
        held = self.deferred.places()
        self._uncommitted = {place: at for place, at in self._uncommitted.items() if place in held}
        crashpoint("offsets.after_commit")

    def _rewind(self, records: Sequence[Record]) -> None:
        """Read these again, with all that was deferred there: it lies behind the committed offset."""
        places = dict.fromkeys(record.place for record in records)
        self._uncommitted |= self.deferred.hold_back(
            {place: at for place, at in self._uncommitted.items() if place in places}
        )
        self.deferred.drop(places)
        for place in places:
            try:
                self.consumer.rewind(place)
            except BusUnavailable as error:
                # The consumer cannot skip what it did not commit, so joining anew is the safe way back.
                log.warning("rewind_failed", error=str(error))
                self.close()
                return

    # -- requests and chores

    def _serve_requests(self) -> None:
        """Serve what people ask for, but not so much of it that messages wait for long."""
        for _ in range(REQUESTS_IN_A_ROW_MAX):
            try:
                work, future = self._requests.get_nowait()
            except Empty:
                return
            self._serve(work, future)

    def _serve(self, work: Callable[[T], tuple[HandlerResult, Any]], future: "Future[Any]") -> None:
        if not future.set_running_or_notify_cancel():
            return
        answer: list[Any] = []

        def run(tx: T) -> HandlerResult:
            handled, value = work(tx)
            answer.append(value)
            return handled

        try:
            self.commit(run)
        except Exception as error:  # noqa: BLE001 - it goes to whoever asked, who decides
            future.set_exception(error)
        else:
            future.set_result(answer[-1])

    def hurry(self, name: str) -> None:
        """Make this chore due at the next round, and begin that now. Safe from any thread."""
        for chore in self.periodic_tasks:
            if chore.name == name:
                chore.due_ms = 0
        self.wake()

    def _do_chores(self) -> None:
        now = self._monotonic_ms()
        for chore in self.periodic_tasks:
            if now >= chore.due_ms:
                chore.due_ms = now + chore.every_ms
                try:
                    chore.run_once(self)
                except RowsUnavailable as error:  # others hold what it needs; messages do not
                    self.counters.chores_put_off += 1
                    log.warning("chore_put_off", chore=chore.name, error=str(error))

    # -- membership and trouble

    def _on_assigned(self, places: frozenset[TopicPartition]) -> None:
        self._owned |= places
        self.joined = True
        self._starts.assigned(places)
        log.info("partitions_assigned", partitions=sorted(places))

    def _on_revoked(self, places: frozenset[TopicPartition]) -> None:
        self._forget(places)
        log.info("partitions_revoked", partitions=sorted(places))

    def _on_lost(self, places: frozenset[TopicPartition]) -> None:
        self._forget(places)
        self.joined = bool(self._owned)
        log.warning("partitions_lost", partitions=sorted(places))

    def _forget(self, places: frozenset[TopicPartition]) -> None:
        self._gone.update(places)
        self._owned -= places
        self._starts.given_up(places)
        self.deferred.drop(places)
        for place in places:
            self._uncommitted.pop(place, None)

    def _trouble(self, event: str, error: Exception) -> None:
        self._troubles += 1
        self.counters.transient_failures += 1
        log.warning(event, error=str(error), troubles=self._troubles)
