"""Which service published a record on Kafka: the only writer that the topic's ACL admits, or the signer."""

from holdfast.bus.message_signature import SigningKeys
from holdfast.bus.port import Headers, Message
from holdfast.contracts.topics import TOPICS, writers_of


class MessageOrigin:
    """Signs messages to topics with several writers, and tells which service published a record."""

    def __init__(self, keys: SigningKeys | None) -> None:
        self._keys = keys

    def sign(self, message: Message) -> Message:
        """Return the message to publish: signed if its topic has several writers and there are keys."""
        if self._keys is None or len(_writers(message.topic)) < 2:
            return message
        return self._keys.sign(message)

    def source_of(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> str | None:
        """Return the service that is proven to have published this record; None if nothing proves it."""
        writers = _writers(topic)
        if len(writers) == 1:
            return next(iter(writers))
        if self._keys is None or not writers:
            return None
        source = self._keys.source_of(topic, key, value, headers)
        return source if source in writers else None


def _writers(topic: str) -> frozenset[str]:
    return writers_of(topic) if topic in TOPICS else frozenset()
