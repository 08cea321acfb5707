"""The commits of one Kafka consumer: one at a time, each answered in bounded time.

librdkafka's own synchronous commit may never end while a broker is away, and blocks the client meanwhile.
This module knows neither which offsets to commit nor what an answer means for the consumer.
"""

import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPlace

from holdfast.bus.kafka.errors import NEW_GENERATION, unavailable
from holdfast.bus.port import BusUnavailable, TopicPartition

_REBALANCE_SLICE_S = 0.005

Offsets = dict[TopicPartition, int]


class Commits:
    """Sends commits. `answered` must be the client's `on_commit`; `is_member` says if we are still one."""

    def __init__(self, timeout_s: float, is_member: Callable[[], bool]) -> None:
        self.open = 0
        """How many were sent and not answered, including those that were given up."""
        self._timeout_s = timeout_s
        self._is_member = is_member
        self._asked: Offsets = {}
        self._send: Callable[[], None] = lambda: None
        self._deadline = 0.0
        self._answers: list[KafkaError | None] = []

    def ask(self, client: Consumer, offsets: Offsets, serve: Callable[[], None]) -> KafkaError | None:
        """Commit; call `serve`, which polls the client, until the answer comes; return the refusal if any.

        Raises BusUnavailable; then it is not known whether the commit happened.
        """
        places = [KafkaPlace(*place, offset) for place, offset in offsets.items()]

        def send() -> None:
            client.commit(offsets=places, asynchronous=True)
            self.open += 1

        self._asked, self._send, self._answers = offsets, send, []
        self._deadline = time.monotonic() + self._timeout_s
        try:
            send()
            while not self._answers:
                if time.monotonic() > self._deadline:
                    raise BusUnavailable("no answer to a commit in time")
                serve()
        except KafkaException as error:
            raise unavailable(error) from error
        finally:
            self._asked = {}
        return self._answers[0]

    def answered(self, error: KafkaError | None, partitions: list[KafkaPlace]) -> None:
        """Take an answer, or send the commit again in the group's new generation.

        It is sent from within this callback: a revocation may come next, and it waits for sent commits.
        """
        self.open -= 1
        if {TopicPartition(each.topic, each.partition): each.offset for each in partitions} != self._asked:
            return  # the answer to a commit that was given up
        refusal = error or next((each.error for each in partitions if each.error), None)
        again = refusal is not None and refusal.name() in NEW_GENERATION
        if again and self._is_member() and time.monotonic() < self._deadline:
            time.sleep(_REBALANCE_SLICE_S)
            self._send()
        else:
            self._answers.append(refusal)

    def lost(self) -> None:
        """Stop waiting for an answer: the partitions are lost."""
        if self._asked:
            self._answers.append(KafkaError(KafkaError._ASSIGNMENT_LOST))  # noqa: SLF001 - librdkafka's name
