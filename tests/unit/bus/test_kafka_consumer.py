"""A consumer on Kafka that leaves its group."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from holdfast.bus.kafka.consumer import KafkaConsumer
from holdfast.bus.kafka.settings import KafkaSettings

NOWHERE = "127.0.0.1:1"


class Client:
    """A client whose callback fails while it closes."""

    def __init__(self, code: int) -> None:
        self._code = code
        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        raise KafkaException(KafkaError(self._code))


def consumer(client: Client) -> KafkaConsumer:
    origin: Any = None  # reads no record
    made = KafkaConsumer(
        KafkaSettings(NOWHERE, options={"log_level": 0}), "g", ["t"], None, lambda _: 0, origin
    )
    made._client.close()
    made._client = client  # type: ignore[assignment]
    return made


def test_a_rebalance_that_meets_the_end_of_the_client_is_no_failure() -> None:
    client = Client(KafkaError._DESTROY)
    leaving = consumer(client)
    leaving.close()
    leaving.close()
    assert client.closed == 1


def test_any_other_failure_to_leave_is_told() -> None:
    with pytest.raises(KafkaException):
        consumer(Client(KafkaError._FAIL)).close()
