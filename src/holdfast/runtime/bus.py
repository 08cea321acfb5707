"""Which bus a process speaks to, chosen by its settings. The one place that knows all of them."""

from holdfast.bus.port import Bus
from holdfast.runtime.settings import ServiceSettings


def connect(settings: ServiceSettings) -> Bus:
    """Make the bus; connects on first use. Imports only the client it needs."""
    if settings.bus == "kafka":
        from holdfast.bus.kafka import KafkaBus
        from holdfast.bus.kafka_settings import KafkaSettings

        return KafkaBus(KafkaSettings(settings.kafka_bootstrap))
    from holdfast.bus.postgres import PostgresBus

    return PostgresBus(settings.bus_dsn, settings.bus_hints, lease_s=settings.bus_lease_s)
