"""The publishing side of Kafka: an idempotent producer that says of each batch whether it is durable.

It knows neither which messages exist nor when they are published again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from holdfast.bus.kafka.client_log import client_log
from holdfast.bus.kafka.errors import REFUSED, error_of, text
from holdfast.bus.kafka.origin import MessageOrigin
from holdfast.bus.kafka.settings import KafkaSettings
from holdfast.bus.partitioner import partition_of
from holdfast.bus.port import RECORD_BYTES_MAX, Message, MessageRefused, PublishFailed, TopicPartition

_FULL_QUEUE_WAIT_S = 0.05
_GRACE_S = 5.0
_BY_KEY = -1
"""Leaves the partition to librdkafka, which places by the key among those that there are."""

_LOG = client_log("producer")


class _Deliveries:
    """The result of one batch: the indexes of messages not acknowledged, and the first error."""

    def __init__(self, size: int) -> None:
        self.missing = set(range(size))
        self.failed: KafkaError | None = None

    def report(self, index: int, error: KafkaError | None, _message: KafkaMessage) -> None:
        if error is None:
            self.missing.discard(index)
        else:
            self.fail(error)

    def fail(self, error: KafkaError) -> None:
        """Keep the first error, or a later fatal one: then the producer cannot be used any more."""
        if self.failed is None or error.fatal():
            self.failed = error


class KafkaPublisher:
    """Publishes batches; after a fatal error it goes on with a new producer.

    A batch may fail in part: then the log has a message without an earlier one, until the whole batch is
    published again. So order per key holds only for consumers that drop repeats by their id.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        end_offset: Callable[[TopicPartition], int],
        origin: MessageOrigin,
        placed: Mapping[str, int],
    ) -> None:
        self._placed = placed  # among how many partitions of a topic, however many there are by now
        self._settings = settings
        self._origin = origin
        self._end_offset = end_offset
        self._producer: Producer | None = None

    def publish(self, batch: Sequence[Message]) -> None:
        """See the port. Bounded by the delivery timeout. If a message is too large, nothing is published."""
        for message in batch:
            if message.size > RECORD_BYTES_MAX:
                raise MessageRefused(f"a message of {message.size} bytes, the limit is {RECORD_BYTES_MAX}")
        producer = self._connected()
        deadline = time.monotonic() + self._settings.delivery_timeout_ms / 1000 + _GRACE_S
        deliveries = _Deliveries(len(batch))
        for index, message in enumerate(batch):  # once one has failed, no other is handed over
            count = self._placed.get(message.topic)
            partition = _BY_KEY if count is None else partition_of(message.key, count)
            _produce(producer, index, self._origin.sign(message), partition, deliveries, deadline)
        unanswered = _flush(producer, deliveries, deadline)
        if unanswered or (deliveries.failed is not None and deliveries.failed.fatal()):
            self._producer = None  # messages that it still holds are never sent
        if deliveries.missing:
            raise _failure(deliveries)

    def end_offset(self, place: TopicPartition) -> int:
        """See the port."""
        return self._end_offset(place)

    def close(self) -> None:
        """See the port."""
        self._producer = None  # `publish` left nothing under way

    def _connected(self) -> Producer:
        if self._producer is None:
            self._producer = Producer({**self._settings.producer(), "error_cb": self._on_error}, logger=_LOG)
        return self._producer

    def _on_error(self, error: KafkaError) -> None:
        _LOG.warning("%s", text(error))


def _produce(
    producer: Producer,
    index: int,
    message: Message,
    partition: int,
    deliveries: _Deliveries,
    deadline: float,
) -> None:
    """Hand one message to the producer, waiting while its local queue is full."""
    report = partial(deliveries.report, index)
    headers: list[tuple[str, bytes | str | None]] = list(message.headers)
    while deliveries.failed is None:
        try:
            producer.produce(message.topic, message.value, message.key, partition, report, headers=headers)
        except BufferError:
            if time.monotonic() < deadline:
                _flush(producer, deliveries, time.monotonic() + _FULL_QUEUE_WAIT_S)
            else:
                deliveries.fail(KafkaError(KafkaError._QUEUE_FULL))  # noqa: SLF001 - librdkafka's name
        except KafkaException as error:
            deliveries.fail(error_of(error))
        else:
            return


def _flush(producer: Producer, deliveries: _Deliveries, deadline: float) -> int:
    """Wait for the delivery reports; return how many are still missing at the deadline."""
    try:
        return producer.flush(max(0.0, deadline - time.monotonic()))
    except KafkaException as error:  # it is fatal: no more reports will come
        deliveries.fail(error_of(error))
        return len(producer)


def _failure(deliveries: _Deliveries) -> Exception:
    missing, error = frozenset(deliveries.missing), deliveries.failed
    if error is None:
        return PublishFailed(len(missing), "no answer in time", missing)
    if error.name() in REFUSED:
        return MessageRefused(text(error))
    return PublishFailed(len(missing), text(error), missing)
