"""One batch, one transaction, one commit: state, history or fence, timers and outbox together.

Records are decoded before it, and offsets are committed after it; this module never touches the bus.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import structlog

from holdfast import __version__
from holdfast.bus.port import RECORD_BYTES_MAX, Message, Record
from holdfast.contracts.topics import dead_letters
from holdfast.messaging.crashpoints import crashpoint
from holdfast.messaging.envelope import Envelope, OtherReaders, UnreadableRecord, open_record, seal_raw
from holdfast.messaging.handler import Handler, HandlerResult, OutboxMessage
from holdfast.messaging.message_origin import REFUSALS
from holdfast.messaging.parked import CARD_NUMBER, LogPosition, ParkedRecord, holds_card, without_cards
from holdfast.messaging.store import OutboxRow, Store, Transaction

T = TypeVar("T", bound=Transaction)

log = structlog.get_logger(__name__)


class Committed(NamedTuple):
    """What one committed transaction leaves to publish; `outbox_id` is 0 if it appended nothing."""

    outbox_id: int
    messages: list[Message]
    handled: int = 0
    parked: int = 0


@dataclass
class OpenedBatch:
    """The records of a batch that are for this reader: those it understood and those it cannot read."""

    envelopes: list[Envelope] = field(default_factory=list)
    bad: list[UnreadableRecord] = field(default_factory=list)


def open_batch(records: Sequence[Record], reader: str, *, proven: bool = True) -> OpenedBatch:
    """Decode the records; leave out those for other readers. `proven`: whether the bus proves sources."""
    opened = OpenedBatch()
    for record in records:
        match open_record(record, reader, proven=proven):
            case Envelope() as envelope if holds_card(record):
                opened.bad.append(_with_card(record, envelope))
            case Envelope() as envelope:
                opened.envelopes.append(envelope)
            case UnreadableRecord() as bad:
                opened.bad.append(bad)
            case OtherReaders():
                pass
    return opened


class BatchProcessor(Generic[T]):
    """Runs a service's handler over batches; the caller publishes what it returns and commits offsets.

    `sources_proven`: whether the bus proves who published a record; if so, one without a proof is refused.
    `refused` counts, by reason, the messages that were parked with an alarm (`message_origin.REFUSALS`).
    """

    def __init__(
        self, service: str, store: Store[T], handler: Handler[T], *, sources_proven: bool = True
    ) -> None:
        self.service = service
        self.store = store
        self.refused: Counter[str] = Counter()
        self._handler = handler
        self._sources_proven = sources_proven

    def run(
        self, records: Sequence[Record], forget: Sequence[int] = (), lock_wait_ms: int | None = None
    ) -> Committed:
        """Process a batch, delete the outbox rows `forget`; raises StoreUnavailable, or the handler's error.

        Safe to repeat, also after a commit whose answer was lost: history and fence know what was done.
        `lock_wait_ms` bounds the wait for each lock; without it the session's own bound counts.
        """
        opened = open_batch(records, self.service, proven=self._sources_proven)
        if not opened.envelopes and not opened.bad and not forget:
            return Committed(0, [])
        at = "batch" if opened.envelopes else "forget"
        bad = [_parked(each) for each in opened.bad]
        return self.commit(lambda tx: self._handle(tx, opened), bad, forget, at=at, lock_wait_ms=lock_wait_ms)

    def run_redriven(self, positions: Sequence[LogPosition]) -> Committed:
        """Process redriven parked rows like the records that they were; raises as `run` does.

        Rows that others hold, or have settled meanwhile, are left out. The result of each row is written.
        """
        bad: list[ParkedRecord] = []

        def work(tx: T) -> HandlerResult:
            rows = tx.take_redriven(positions)
            opened = open_batch([row.record for row in rows], self.service, proven=self._sources_proven)
            bad.extend(_parked(each) for each in opened.bad)
            result = self._handle(tx, opened)
            parked_again = {row.place for row in (*bad, *_refused(result))}
            tx.note_processed([row.place for row in rows if row.place not in parked_again])
            return result

        return self.commit(work, bad)

    def park_again(self, position: LogPosition, reason: str, detail: str) -> Committed:
        """Park one redriven row that the handler cannot process."""
        parked: list[ParkedRecord] = []

        def work(tx: T) -> HandlerResult:
            text = detail.encode("utf-8", "replace").decode()
            rows = tx.take_redriven([position])
            parked.extend(row._replace(reason=reason, detail=text, attempts=1) for row in rows)
            return HandlerResult()

        return self.commit(work, parked)

    def park(self, record: Record, reason: str, detail: str, attempts: int = 1) -> Committed:
        """Park one record that the handler cannot process; `detail` may be any text."""
        opened = open_record(record, self.service, proven=self._sources_proven)
        ids = (None, None) if isinstance(opened, OtherReaders) else (opened.message_id, opened.saga_id)
        text = detail.encode("utf-8", "replace").decode()
        return self.commit(lambda _: HandlerResult(), [ParkedRecord(record, reason, text, *ids, attempts)])

    def probe_writes(self) -> None:
        """Raise StoreUnavailable if the database takes no writes; writes nothing."""
        with self.store.transaction() as tx:
            tx.probe_writes()

    def commit(
        self,
        work: Callable[[T], HandlerResult],
        parked: Sequence[ParkedRecord] = (),
        forget: Sequence[int] = (),
        *,
        at: str = "task",
        lock_wait_ms: int | None = None,
    ) -> Committed:
        """Run `work` in a transaction of its own and append its messages; `at` names the crash points."""
        with self.store.transaction() as tx:
            if lock_wait_ms is not None:
                tx.limit_lock_wait(lock_wait_ms)
            result = work(tx)
            to_park = [*parked, *_refused(result)]
            copies = self._park(tx, to_park)
            messages = [*map(self._seal, result.messages_to_seal), *result.messages, *copies]
            appended = tx.append_outbox(messages) if messages else OutboxRow()
            if result.fired:
                outbox_id = tx.outbox_id(appended) if messages else 0
                tx.set_timers([row._replace(outbox_id=outbox_id) for row in result.fired])
            tx.forget_outbox(forget)
            at = "park" if copies else at
            crashpoint(f"{at}.before_commit")
        crashpoint(f"{at}.after_commit")
        self._alarm(to_park)
        return Committed(appended.id, messages, result.count, len(copies))

    def _handle(self, tx: T, opened: OpenedBatch) -> HandlerResult:
        if not opened.envelopes:
            return HandlerResult()
        result = self._handler.handle(tx, opened.envelopes)
        result.count = len(opened.envelopes)
        return result

    def _park(self, tx: T, parked: Sequence[ParkedRecord]) -> list[Message]:
        """Write the parked rows and return their dead letters."""
        return [self._copy(row) for row in tx.park([without_cards(row) for row in parked])]

    def _alarm(self, parked: Sequence[ParkedRecord]) -> None:
        """Log and count each message that its source had no right to send, or that contradicts a record."""
        for row in parked:
            if row.reason in REFUSALS:
                self.refused[row.reason] += 1
                log.error(
                    "message_refused",
                    reason=row.reason,
                    detail=row.detail,
                    place=str(row.place),
                    source=row.record.source,
                    message_id=row.message_id,
                    saga_id=row.saga_id,
                )

    def _seal(self, reply: OutboxMessage) -> Message:
        return seal_raw(
            reply.message_id,
            reply.kind,
            reply.saga_id,
            reply.value,
            self.service,
            attempt=reply.attempt,
            cause=reply.cause,
        )

    def _copy(self, parked: ParkedRecord) -> Message:
        """Make the dead letter: the kept bytes and headers, and where, why and by whom they were parked.

        One too large for the bus leaves out key, value and headers, and says so; the parked row has them.
        """
        record = parked.record
        facts = (
            ("x-original-topic", record.topic),
            ("x-original-partition", str(record.partition)),
            ("x-original-offset", str(record.offset)),
            ("x-original-timestamp", str(record.timestamp_ms)),
            ("x-error-type", parked.reason),
            ("x-error-detail", parked.detail[:1000]),
            ("x-attempts", str(parked.attempts)),
            ("x-first-at", str(parked.first_ms)),
            ("x-last-at", str(parked.last_ms)),
            ("x-consumer-group", self.service),
            ("x-build", __version__),
        )
        extra = tuple((name, text.encode()) for name, text in facts)
        topic, key = dead_letters(record.topic), record.key or b""
        copy = Message(topic, key, record.value, record.headers + extra)
        if copy.size <= RECORD_BYTES_MAX:
            return copy
        return Message(topic, b"", None, (*extra, ("x-left-out", b"key, value and headers: too large")))


def _with_card(record: Record, envelope: Envelope) -> UnreadableRecord:
    return UnreadableRecord(
        record, CARD_NUMBER, "it holds a card number", envelope.message_id, envelope.saga_id
    )


def _parked(bad: UnreadableRecord) -> ParkedRecord:
    return ParkedRecord(bad.record, bad.reason, bad.detail, bad.message_id, bad.saga_id)


def _refused(result: HandlerResult) -> list[ParkedRecord]:
    return [
        ParkedRecord(p.envelope.record, p.reason, p.detail, p.envelope.message_id, p.envelope.saga_id)
        for p in result.parked
        if p.envelope.record is not None
    ]
