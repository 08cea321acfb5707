"""What keeps a process that has started from useful work, as /readyz says it."""

from typing import Any

from holdfast.messaging.consumer import KafkaConsumerManager

TROUBLES_MIN = 3
"""So many failures in a row are no hiccup."""


def readiness_failures(manager: KafkaConsumerManager[Any]) -> list[str]:
    """Say why this process can neither hear nor tell now; empty where it can do both.

    A bus may fail on one side only: with two of three brokers gone records still come, and none leaves.
    """
    reasons = []
    if not manager.joined:
        reasons.append("no partitions assigned")
    if manager.failures_in_a_row >= TROUBLES_MIN:
        reasons.append("database or bus in trouble")
    if manager.relay.failures_in_a_row >= TROUBLES_MIN:
        reasons.append("the bus takes no messages")
    return reasons
