"""The reasons why a process cannot do useful work, as /readyz shows them."""

from typing import Any

from holdfast.bus.port import BusForbidden, PartitionsDiffer
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.store import StoreForbidden
from holdfast.messaging.write_probe import WriteProbe
from holdfast.runtime.migrations import PartitionsChanged
from holdfast.runtime.settings import PREFIX, ServiceSettings

WAITING = "waiting for database and bus"

TROUBLES_MIN = 3
"""From so many failures in a row on, the process is not ready; fewer are normal."""
PROBES_FAILED_MIN = 2


def readiness_failures(manager: KafkaConsumerManager[Any], probe: WriteProbe) -> list[str]:
    """Return why this process cannot receive, write or publish now; empty if it can do all.

    A bus may fail in one direction only: with two of three brokers down, records still come, but none leaves.
    """
    reasons = []
    if not manager.joined:
        reasons.append("no partitions assigned")
    if manager.failures_in_a_row >= TROUBLES_MIN:
        reasons.append("database or bus in trouble")
    if probe.failures >= PROBES_FAILED_MIN:
        reasons.append("the database takes no writes")
    if manager.relay.failures_in_a_row >= TROUBLES_MIN:
        reasons.append("the bus takes no messages")
    return reasons


def waiting_reason(error: Exception, settings: ServiceSettings) -> str:
    """Return why the start waits: for dependencies, or for a person who mends the setting that it names."""
    refused = "refuses our name, password or rights: see"
    match error:
        case StoreForbidden():
            return f"the database {refused} {PREFIX}DSN"
        case BusForbidden() if settings.bus == "kafka":
            return f"the bus {refused} {PREFIX}KAFKA_USERNAME and {PREFIX}KAFKA_PASSWORD_FILE"
        case BusForbidden():
            return f"the bus {refused} {PREFIX}BUS_DSN"
        case PartitionsChanged() | PartitionsDiffer():
            return str(error)
        case _:
            return WAITING
