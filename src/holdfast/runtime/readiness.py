"""The reasons why a started process cannot do useful work, as /readyz shows them."""

from typing import Any

from holdfast.messaging.consumer import KafkaConsumerManager

TROUBLES_MIN = 3
"""From so many failures in a row on, the process is not ready; fewer are normal."""


def readiness_failures(manager: KafkaConsumerManager[Any]) -> list[str]:
    """Return why this process cannot receive or cannot publish now; empty if it can do both.

    A bus may fail in one direction only: with two of three brokers down, records still come, but none leaves.
    """
    reasons = []
    if not manager.joined:
        reasons.append("no partitions assigned")
    if manager.failures_in_a_row >= TROUBLES_MIN:
        reasons.append("database or bus in trouble")
    if manager.relay.failures_in_a_row >= TROUBLES_MIN:
        reasons.append("the bus takes no messages")
    return reasons
