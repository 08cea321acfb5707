"""What a process's settings make of the bus."""

from pathlib import Path

from holdfast.bus.kafka import KafkaBus
from holdfast.messaging.breaker import BreakerSettings
from holdfast.runtime.bus import connect
from holdfast.runtime.settings import ServiceSettings


def settings(**more: object) -> ServiceSettings:
    common = {
        "dsn": "dbname=none",
        "bus": "kafka",
        "kafka_bootstrap": "127.0.0.1:1",
        "http_port": 1,
        "jwks": Path(),
    }
    return ServiceSettings.model_validate(common | more)


def test_a_kafka_that_takes_nothing_opens_the_breaker_within_a_minute() -> None:
    """A publish ends when its time is up: so many of them open the breaker."""
    assert settings().kafka_delivery_timeout_ms * BreakerSettings().failures_max < 60_000


def test_kafka_is_told_how_long_a_delivery_may_take_and_a_member_be_silent() -> None:
    bus = connect(settings(kafka_delivery_timeout_ms=1_234, kafka_session_timeout_ms=2_345))
    assert isinstance(bus, KafkaBus)
    assert (bus._settings.delivery_timeout_ms, bus._settings.session_timeout_ms) == (1_234, 2_345)
    bus.close()
