"""Which bus a process speaks to, chosen by its settings. The one place that knows all of them."""

from holdfast.bus.port import Bus
from holdfast.contracts.topics import TOPICS, dead_letters
from holdfast.runtime.settings import RetentionSettings, ServiceSettings


def connect(settings: ServiceSettings) -> Bus:
    """Make the bus; connects on first use. Imports only the client it needs."""
    if settings.bus == "kafka":
        from holdfast.bus.kafka import KafkaBus
        from holdfast.bus.kafka_settings import KafkaSettings

        return KafkaBus(
            KafkaSettings(
                settings.kafka_bootstrap,
                settings.kafka_replicas,
                delivery_timeout_ms=settings.kafka_delivery_timeout_ms,
                session_timeout_ms=settings.kafka_session_timeout_ms,
                retention_ms=topic_retention_ms(settings),
                options=settings.kafka_options(),
            )
        )
    from holdfast.bus.postgres import PostgresBus
    from holdfast.bus.postgres_consumer import LogRetention

    retention = LogRetention(
        consumed_s=min(settings.consumed_retention_s, settings.topic_retention_s),
        kept_s=settings.dead_letter_retention_s,
        kept_topics=tuple(map(dead_letters, TOPICS)),
    )
    return PostgresBus(
        settings.bus_dsn, settings.bus_hints, lease_s=settings.bus_lease_s, retention=retention
    )


def topic_retention_ms(settings: RetentionSettings) -> dict[str, int]:
    """Return how long each topic keeps its messages where nobody has to read them."""
    letters = dict.fromkeys(map(dead_letters, TOPICS), settings.dead_letter_retention_s * 1000)
    return {**dict.fromkeys(TOPICS, settings.topic_retention_s * 1000), **letters}
