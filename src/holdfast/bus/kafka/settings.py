"""How this system talks to Kafka: every librdkafka option that we do not leave at its default, and why.

It reads no environment and makes no clients: the code that builds the bus fills in KafkaSettings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Option = str | int | float | bool | None

REPLICAS = 3

TOPIC_KNOWN_S = 3
"""How long a newly created topic may still seem missing to some broker."""

_BATCH_BYTES_MAX = 1_040_000  # a message of RECORD_BYTES_MAX fits in; Kafka itself takes 1,048,588


@dataclass(frozen=True)
class KafkaSettings:
    """Where Kafka is and how long we wait for it; `options` (TLS, SASL ...) apply to every client.

    They have librdkafka's names. An option given here overrides ours; None removes ours.
    """

    bootstrap: str
    replication_factor: int | None = None
    """None: 1 if `bootstrap` names one broker and no other is up, else 3."""
    delivery_timeout_ms: int = 30_000
    """After this time a message without an acknowledgement counts as not delivered; bounds `publish`."""
    session_timeout_ms: int = 10_000
    """After this time without a heartbeat a member's partitions go to others."""
    poll_interval_max_ms: int = 120_000
    """A member that does not poll for this time counts as hung: its partitions go to others."""
    lookup_timeout_s: float = 10.0
    """Bounds every question to the cluster: offsets, topics, brokers."""
    retention_ms: Mapping[str, int] = field(default_factory=dict)
    """How long a topic keeps its messages, read or not; a topic not named has the broker's default."""
    options: Mapping[str, Option] = field(default_factory=dict, repr=False)
    producer_options: Mapping[str, Option] = field(default_factory=dict)
    consumer_options: Mapping[str, Option] = field(default_factory=dict)

    def replicas(self, brokers_up: int) -> int:
        """Return a new topic's number of copies: not fewer because some brokers are not up yet."""
        if self.replication_factor is not None:
            return self.replication_factor
        return REPLICAS if brokers_up > 1 or "," in self.bootstrap else 1

    def client(self) -> dict[str, str | int | float | bool]:
        """Return the options of a client that neither produces nor consumes."""
        return _merged(self._common(), self.options)

    def producer(self) -> dict[str, str | int | float | bool]:
        """Return the options of a producer."""
        own: dict[str, Option] = {
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,  # costs no latency: flush() sends at once; it only lets a batch fill meanwhile
            "compression.type": "lz4",
            "partitioner": "murmur2_random",  # as Java and `partitioner`; librdkafka's own default is CRC32
            "delivery.timeout.ms": self.delivery_timeout_ms,
            "request.timeout.ms": min(10_000, self.delivery_timeout_ms),  # a hung broker is given up sooner
            "message.max.bytes": _BATCH_BYTES_MAX,
            "queue.buffering.max.kbytes": 65_536,
            "topic.metadata.propagation.max.ms": min(TOPIC_KNOWN_S * 1000, self.delivery_timeout_ms // 2),
        }
        return _merged(self._common(), own, self.options, self.producer_options)

    def consumer(self, group: str) -> dict[str, str | int | float | bool]:
        """Return the options of a member of `group`."""
        own: dict[str, Option] = {
            "group.id": group,
            "group.protocol": "classic",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": self.session_timeout_ms,
            "heartbeat.interval.ms": min(
                500, self.session_timeout_ms // 4
            ),  # how soon members hear of a new member
            "max.poll.interval.ms": max(self.poll_interval_max_ms, self.session_timeout_ms),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "check.crcs": True,
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 16_384,
            "fetch.queue.backoff.ms": 20,  # a full queue is filled again soon: the default of 1 s starves us
        }
        return _merged(self._common(), own, self.options, self.consumer_options)

    def _common(self) -> dict[str, Option]:
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": "holdfast",
            "socket.keepalive.enable": True,
            "socket.timeout.ms": 10_000,  # a frozen broker is given up after this; the default is a minute
            "reconnect.backoff.max.ms": 1_000,  # reconnect soon after a broker is back; the default is 10 s
        }


def _merged(*layers: Mapping[str, Option]) -> dict[str, str | int | float | bool]:
    merged: dict[str, Option] = {}
    for layer in layers:
        merged |= layer
    return {name: value for name, value in merged.items() if value is not None}
