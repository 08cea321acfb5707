"""Publishing as the service that a message says it is from: on a bus in memory, that is whose view it is."""

from collections.abc import Sequence

from holdfast.bus.memory import MemoryBus
from holdfast.bus.port import Message, Record


def publish_as_written(bus: MemoryBus, batch: Sequence[Message]) -> None:
    """Publish each message, in order, as the service that sealed it."""
    for message in batch:
        bus.of(source_of(message)).publisher().publish([message])


def record_as_written(message: Message, offset: int, at_ms: int = 0) -> Record:
    """Return the message as it lies on partition 0, published by the service that sealed it."""
    return Record(
        message.topic, 0, offset, message.key, message.value, message.headers, at_ms, source_of(message)
    )


def source_of(message: Message) -> str:
    """Return the service that sealed a message."""
    return dict(message.headers)["ce_source"].decode()
