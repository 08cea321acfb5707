"""What lies on Kafka becomes a record, whatever it is."""

from typing import Any, cast

import pytest
from confluent_kafka import Message as KafkaMessage

from holdfast.bus.kafka.consumer import _record
from holdfast.bus.kafka.origin import MessageOrigin
from holdfast.bus.port import UNDECODABLE
from holdfast.contracts.topics import INVENTORY, INVENTORY_COMMANDS
from holdfast.messaging.envelope import OtherReaders, UnreadableRecord, open_record

ERRORS = [UnicodeDecodeError("utf-8", b"\xff", 0, 1, "as scripted"), SystemError("NULL")]


class Odd:
    """A message whose headers the client cannot decode."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def topic(self) -> str:
        return INVENTORY_COMMANDS

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 7

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"v"

    def timestamp(self) -> tuple[int, int]:
        return 1, 99

    def headers(self) -> Any:
        raise self._error


@pytest.mark.parametrize("error", ERRORS)
def test_a_header_whose_name_is_no_text_makes_a_record_that_says_so(error: Exception) -> None:
    record = _record(cast("KafkaMessage", Odd(error)), MessageOrigin(None))
    assert (record.offset, record.key, record.value) == (7, b"k", b"v")
    assert [name for name, _ in record.headers] == [UNDECODABLE]
    opened = open_record(record, INVENTORY)
    assert isinstance(opened, UnreadableRecord)
    assert opened.reason == "undecodable"
    assert isinstance(open_record(record, "order-create"), OtherReaders)
