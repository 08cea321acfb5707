"""The consuming side of Kafka: one member of a group, which says so when it is no longer a member.

It knows neither what a record means nor what to do when a batch fails.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException
from confluent_kafka import Message as KafkaMessage
from confluent_kafka import TopicPartition as KafkaPlace

from holdfast.bus.kafka.backlog import Backlog
from holdfast.bus.kafka.client_log import client_log
from holdfast.bus.kafka.commits import Commits, Offsets
from holdfast.bus.kafka.errors import NOT_OWNER, error_of, text, unavailable
from holdfast.bus.kafka.origin import MessageOrigin
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.port import UNDECODABLE, BusUnavailable, NotOwner, RebalanceListener, Record, TopicPartition

WAKE_SLICE_S = 0.05
"""How late a waiting poll may notice `wake`: nothing interrupts librdkafka, so it waits in slices."""

_ANSWER_SLICE_S = 0.001  # short, because a poll that serves an answer goes on waiting for a message
_PROOF_S = 1.0  # a living broker answers much sooner
_BACKLOG_MAX = 2_000  # so many records are fetched ahead to share the turns fairly, if they are small
_BACKLOG_BYTES_MAX = 4_000_000
_LOG = client_log("consumer")


class KafkaConsumer:
    """A member of a consumer group; it joins at its first poll.

    `rewind` goes back to where this member last committed, or else to the first record it was given: it asks
    no broker, so it works in an outage too. The callbacks may run in `commit` as well.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        topics: Sequence[str],
        assignment: RebalanceListener | None,
        end_offset: Callable[[TopicPartition], int],
        origin: MessageOrigin,
    ) -> None:
        self._origin = origin
        self._timeout_s = settings.lookup_timeout_s
        self._topics = list(topics)
        self._joined = False
        self._silence_max_s = settings.session_timeout_ms / 2000
        self._listener = assignment
        self._end_offset = end_offset  # on another connection: on ours it would wait behind a fetch
        self._owned: frozenset[TopicPartition] = frozenset()
        self._floor: Offsets = {}  # where `rewind` goes; no commit goes below it
        self._backlog = Backlog()
        self._commits = Commits(settings.lookup_timeout_s, self._is_member)
        self._member: str | None = None
        self._seen_alive = time.monotonic()
        self._woken = threading.Event()
        self._error: KafkaError | None = None
        self._cut_off = False
        self._closed = False
        callbacks = {"error_cb": self._on_error, "on_commit": self._commits.answered}
        self._client = Consumer({**settings.consumer(group), **callbacks}, logger=_LOG)

    def poll(self, records_max: int, timeout_s: float) -> list[Record]:
        """See the port. A waiting poll notices `wake` within WAKE_SLICE_S."""
        self._join()
        if not self._backlog.ready():
            self._wait(timeout_s)
        ahead = _BACKLOG_MAX if self._backlog.bytes < _BACKLOG_BYTES_MAX else 0
        missing = max(records_max, ahead) - self._backlog.ready()
        if missing > 0:
            self._keep(self._client.consume(missing, 0))
        if self._backlog.ready():
            self._confirm_membership()
        records = self._backlog.take(records_max)
        if not records and self._error is not None:
            reported, self._error = self._error, None
            raise BusUnavailable(text(reported))
        if not records and self._cut_off:
            self._prove_connection()
        return records

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """See the port. Bounded by the settings' lookup timeout."""
        self._notice_expulsion()
        foreign = frozenset(offsets) - self._owned
        forward = {p: at for p, at in offsets.items() if p in self._owned and at > self._floor_of(p)}
        if forward and not self._commit(forward):
            foreign |= frozenset(forward)
        if foreign:
            raise NotOwner(foreign)

    def rewind(self, place: TopicPartition) -> None:
        """See the port. Raises BusUnavailable if that failed: then close this consumer and join again."""
        if place not in self._owned or place not in self._floor:
            return  # this member or the new owner begins at the committed offset anyway
        self._backlog.forget(frozenset({place}))
        try:
            self._client.seek(KafkaPlace(*place, self._floor[place]))
        except KafkaException as error:
            if error_of(error).name() != "_STATE":  # not begun yet: it will begin at the committed offset
                raise unavailable(error) from error

    def restart(self, place: TopicPartition) -> None:
        """See the port."""
        self._notice_expulsion()
        if place not in self._owned:
            raise NotOwner(frozenset({place}))
        self._floor[place] = 0
        self._backlog.forget(frozenset({place}))
        if not self._commit({place: 0}):
            raise NotOwner(frozenset({place}))
        try:
            self._client.seek(KafkaPlace(*place, OFFSET_BEGINNING))
        except KafkaException as error:
            raise unavailable(error) from error

    def assignment(self) -> frozenset[TopicPartition]:
        """See the port. As the last poll or commit left it."""
        return self._owned

    def committed(self, place: TopicPartition) -> int:
        """See the port."""
        try:
            (answer,) = self._client.committed([KafkaPlace(*place)], self._timeout_s)
        except KafkaException as error:
            raise unavailable(error) from error
        if answer.error is not None:
            raise unavailable(KafkaException(answer.error))
        return max(0, answer.offset)

    def end_offset(self, place: TopicPartition) -> int:
        """See the port."""
        return self._end_offset(place)

    def wake(self) -> None:
        """See the port."""
        self._woken.set()

    def close(self) -> None:
        """See the port."""
        if self._closed:
            return
        self._closed = True
        if self._commits.open == 0:
            self._leave()
        else:  # it would wait for ever for the answer to a commit: let the group notice by the timeout
            self._on_lost(self._client, _named(self._owned))
            del self._client

    def _leave(self) -> None:
        """Leave the group; a rebalance whose callback meets the client as it closes is no failure."""
        try:
            self._client.close()
        except KafkaException as error:
            if error_of(error).name() != "_DESTROY":
                raise

    def _join(self) -> None:
        """Join the group at the first poll: from then on librdkafka sends the heartbeats by itself."""
        if not self._joined:
            self._joined = True
            self._client.subscribe(
                self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )

    def _wait(self, timeout_s: float) -> None:
        """Return at the first message, `wake` or error, or after the timeout."""
        deadline = time.monotonic() + timeout_s
        received = self._poll(0)
        self._error = None  # an error reported between two polls may be over
        while not received:
            woken = self._woken.is_set()
            left = deadline - time.monotonic()
            received = self._poll(0 if woken else max(0.0, min(left, WAKE_SLICE_S)))
            if woken:
                self._woken.clear()
            if received or woken or left <= WAKE_SLICE_S or self._error is not None:
                return
            self._seen_alive = time.monotonic()

    def _prove_connection(self) -> None:
        """Make a broker answer: librdkafka reports an outage only now and then, so silence proves no end."""
        try:
            self._client.list_topics(self._topics[0], timeout=_PROOF_S)
        except KafkaException as error:
            raise unavailable(error) from error
        self._cut_off = False

    def _poll(self, timeout_s: float) -> bool:
        message = self._client.poll(timeout_s)
        if message is not None:
            self._keep([message])
        return message is not None

    def _keep(self, messages: Sequence[KafkaMessage]) -> None:
        for message in messages:
            error = message.error()
            if error is not None:
                self._on_error(error)
                continue
            record = _record(message, self._origin)
            self._floor.setdefault(record.place, record.offset)
            if record.place in self._owned:  # else it was revoked during the poll that brought the record
                self._backlog.add(record)

    def _confirm_membership(self) -> None:
        """After a pause in which the group may have expelled us, ask it by repeating our last commits.

        A process that was frozen may find records in its queue before librdkafka notices the expulsion.
        """
        if time.monotonic() - self._seen_alive > self._silence_max_s:
            known = {place: offset for place, offset in self._floor.items() if place in self._owned}
            self._commit(known)
        self._seen_alive = time.monotonic()

    def _notice_expulsion(self) -> bool:
        """If our membership is over, drop all partitions now; the callback would say so in a later poll."""
        if self._is_member():
            return False
        self._backlog.forget(self._owned)
        self._owned = frozenset()
        return True

    def _is_member(self) -> bool:
        """Tell whether our member id is still the one to which the partitions were assigned."""
        return self._client.memberid() == self._member

    def _floor_of(self, place: TopicPartition) -> int:
        if place not in self._floor:
            self._floor[place] = self.committed(place)
        return self._floor[place]

    def _commit(self, offsets: Offsets) -> bool:
        """Commit; False if these partitions are not, or no longer, this member's."""
        refusal = self._commits.ask(self._client, offsets, self._serve)
        if refusal is None:
            self._floor.update(offsets)
        elif refusal.name() not in NOT_OWNER:
            raise unavailable(KafkaException(refusal))
        elif not self._notice_expulsion():  # a new generation with us in it: skip no record
            for place in offsets:
                self.rewind(place)
        return refusal is None

    def _serve(self) -> None:
        """Let librdkafka run its callbacks for a moment; records it fetched are kept for the next poll."""
        if self._backlog.ready() > _BACKLOG_MAX:
            time.sleep(WAKE_SLICE_S)  # each poll may bring one more
        self._poll(_ANSWER_SLICE_S)

    def _on_error(self, error: KafkaError) -> None:
        """Keep an error that stops the records for the next poll; one lost connection recovers by itself."""
        if error.fatal():
            raise KafkaException(error)
        cut_off = error.name() in {"_ALL_BROKERS_DOWN", "_AUTHENTICATION"}
        if cut_off or error.code() > 0:
            self._error = error
        self._cut_off |= cut_off
        _LOG.warning("%s", text(error))

    def _on_assign(self, client: Consumer, partitions: list[KafkaPlace]) -> None:
        client.incremental_assign(partitions)
        places = _places(partitions)
        self._forget(places)
        everything = _places(client.assignment())
        regained = everything - self._owned - places  # expelled, and back before another member took them
        self._owned = everything
        self._member = client.memberid()
        for place in regained:
            self.rewind(place)
        if self._listener is not None and places:
            self._listener.assigned(places)

    def _on_revoke(self, _client: Consumer, partitions: list[KafkaPlace]) -> None:
        places = _places(partitions)
        try:
            if self._listener is not None and places:
                self._listener.revoked(places)
        finally:
            self._forget(places)

    def _on_lost(self, _client: Consumer, partitions: list[KafkaPlace]) -> None:
        places = _places(partitions)
        self._forget(places)
        self._commits.lost()
        if self._listener is not None and places:
            self._listener.lost(places)

    def _forget(self, places: frozenset[TopicPartition]) -> None:
        self._owned -= places
        self._backlog.forget(places)
        for place in places:
            self._floor.pop(place, None)


def _record(message: KafkaMessage, origin: MessageOrigin) -> Record:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    key, value, at_ms = message.key(), message.value(), message.timestamp()[1]
    try:
        pairs = cast("list[tuple[str, bytes | None]] | None", message.headers())
        headers = tuple((name, value or b"") for name, value in pairs or ())
    except (
        UnicodeDecodeError,
        SystemError,
    ) as error:  # what the client's code in C raises
        headers = ((UNDECODABLE, f"the name of a header is no text: {error}".encode()),)
    source = origin.source_of(topic, key, value, headers)
    return Record(topic, partition, offset, key, value, headers, at_ms, source)


def _places(partitions: Sequence[KafkaPlace]) -> frozenset[TopicPartition]:
    return frozenset(TopicPartition(each.topic, each.partition) for each in partitions)


def _named(places: frozenset[TopicPartition]) -> list[KafkaPlace]:
    return [KafkaPlace(*place) for place in places]
