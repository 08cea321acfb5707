"""How long Kafka keeps a topic's messages: set when the topic is created, checked when a process starts.

The settings say what the numbers mean for the rest of the system.
"""

from collections.abc import Mapping

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from holdfast.bus.kafka.errors import unavailable

RETENTION = "retention.ms"

log = structlog.get_logger(__name__)


def check_retention(admin: AdminClient, wanted_ms: Mapping[str, int], timeout_s: float) -> None:
    """Compare how long topics keep messages with how long they should. Raises BusUnavailable.

    Raises ValueError if a topic keeps them longer: an old message could outlive the row that refuses it. A
    shorter time is only logged: messages lost by it are sent again.
    """
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in wanted_ms]
    if not resources:
        return
    for resource, future in admin.describe_configs(resources, request_timeout=timeout_s).items():
        try:
            there_ms = int(future.result()[RETENTION].value)
        except KafkaException as error:
            raise unavailable(error) from error
        expected_ms = wanted_ms[resource.name]
        if there_ms < 0 or there_ms > expected_ms:
            raise ValueError(
                f"topic {resource.name} keeps its messages for {there_ms} ms, longer than {expected_ms} ms:"
                f" change its {RETENTION}, or the retention that is set for it"
            )
        if there_ms < expected_ms:
            log.warning("topic_keeps_less", topic=resource.name, retention_ms=there_ms, wanted_ms=expected_ms)
