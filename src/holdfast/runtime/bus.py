"""Makes the bus that the settings choose. The only module that knows all implementations."""

import sys

from holdfast.bus.message_signature import SigningKeys, UnusableKeys, read_keys
from holdfast.bus.port import Bus
from holdfast.contracts.topics import TOPICS, dead_letters, signers_read_by
from holdfast.runtime.settings import PREFIX, RetentionSettings, ServiceSettings


def connect(settings: ServiceSettings, service: str) -> Bus:
    """Make the bus for `service`; connects on first use. Imports only the client library that it needs.

    On Kafka, if the file of signing keys is not this service's or lacks a key: print one line, exit with 2.
    """
    if settings.bus == "kafka":
        from holdfast.bus.kafka.bus import KafkaBus
        from holdfast.bus.kafka.settings import KafkaSettings

        return KafkaBus(
            KafkaSettings(
                settings.kafka_bootstrap,
                settings.kafka_replicas,
                delivery_timeout_ms=settings.kafka_delivery_timeout_ms,
                session_timeout_ms=settings.kafka_session_timeout_ms,
                retention_ms=topic_retention_ms(settings),
                options=settings.kafka_options(),
            ),
            _signing_keys(settings, service),
        )
    from holdfast.bus.postgres.bus import PostgresBus
    from holdfast.bus.postgres.consumer import LogRetention

    retention = LogRetention(
        consumed_s=min(settings.consumed_retention_s, settings.topic_retention_s),
        kept_s=settings.dead_letter_retention_s,
        kept_topics=tuple(map(dead_letters, TOPICS)),
    )
    return PostgresBus(
        settings.bus_dsn, settings.bus_wakeup_folder, lease_s=settings.bus_lease_s, retention=retention
    )


def _signing_keys(settings: ServiceSettings, service: str) -> SigningKeys:
    assert settings.signing_keys is not None, "settings for Kafka always name it"
    try:
        keys = read_keys(settings.signing_keys)
        keys.require(service, signers_read_by(service))
    except UnusableKeys as error:
        sys.stderr.write(f"configuration error: {PREFIX}SIGNING_KEYS: {error}\n")
        raise SystemExit(2) from None
    return keys


def topic_retention_ms(settings: RetentionSettings) -> dict[str, int]:
    """Return for each topic how long, in milliseconds, the bus keeps its messages."""
    letters = dict.fromkeys(map(dead_letters, TOPICS), settings.dead_letter_retention_s * 1000)
    return {**dict.fromkeys(TOPICS, settings.topic_retention_s * 1000), **letters}
