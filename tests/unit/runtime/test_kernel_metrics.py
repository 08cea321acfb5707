"""What /metrics says of breakers."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from holdfast.bus.port import BusUnavailable
from holdfast.messaging.breaker import Breaker, BreakerSettings
from holdfast.messaging.producer import BreakerOpen
from holdfast.runtime.kernel_metrics import breaker_readings
from holdfast.runtime.telemetry import MetricsSource


def test_a_breakers_state_moves_and_rejections_are_told() -> None:
    breaker = Breaker("kafka-publish", (BusUnavailable,), BreakerSettings(failures_max=1))
    with pytest.raises(BusUnavailable, match="down"), breaker.guard():
        raise BusUnavailable("down")
    with pytest.raises(BreakerOpen), breaker.guard():
        pass
    registry = CollectorRegistry()
    registry.register(MetricsSource(lambda: breaker_readings([breaker])))
    told = generate_latest(registry).decode().splitlines()
    assert 'breaker_state{breaker="kafka-publish",state="open"} 1.0' in told
    assert 'breaker_state{breaker="kafka-publish",state="closed"} 0.0' in told
    assert 'breaker_transitions_total{breaker="kafka-publish",state="open"} 1.0' in told
    assert 'breaker_transitions_total{breaker="kafka-publish",state="half-open"} 0.0' in told
    assert 'breaker_rejections_total{breaker="kafka-publish"} 1.0' in told
