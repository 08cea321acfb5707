"""A bus that loses, doubles or holds back messages of chosen kinds, whatever bus it stands before.

It strikes at publishing, after the publisher was told that all is well: the worst moment of all.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from enum import StrEnum

from holdfast.bus.port import Assignment, Bus, Consumer, Message, Publisher, TopicPartition
from holdfast.contracts.topics import TOPICS


class Fate(StrEnum):
    """What becomes of a message that was acknowledged."""

    LOST = "lost"
    DOUBLED = "doubled"
    HELD = "held"


def kind_of(message: Message) -> str:
    """Return the message's type, or nothing for what is no message of the contracts (a dead letter)."""
    return dict(message.headers)["ce_type"].decode() if message.topic in TOPICS else ""


class FaultyBus:
    """Wraps `inner`. `struck` counts the messages that met the fate wished for them, `sent` all; by saga
    and kind."""

    def __init__(self, inner: Bus, of_service: Mapping[str, Bus] | None = None) -> None:
        self._inner = inner
        self._of_service = of_service or {}
        self._wishes: dict[tuple[str, str], tuple[Fate, float]] = {}
        self._early: dict[tuple[str, str], Message] = {}
        self.struck: Counter[tuple[str, str]] = Counter()
        self.sent: Counter[tuple[str, str]] = Counter()
        self.log: list[Message] = []
        self.held: list[Message] = []
        self._held_from: list[Bus] = []
        self.create_topics = inner.create_topics
        self.partition_count = inner.partition_count

    def strike(self, saga_id: str, kind: str, fate: Fate, times: float = 1) -> None:
        """Let the next `times` messages of `kind` of this saga meet `fate`."""
        self._wishes[saga_id, kind] = (fate, times)

    def precede(self, kind: str, early: Message) -> None:
        """Let `early` be published just before the first message of `kind` of its saga."""
        self._early[early.key.decode(), kind] = early

    def release(self) -> list[Message]:
        """Deliver what was held back, and hold nothing any more; return what that was."""
        self._wishes.clear()
        late = list(zip(self.held, self._held_from, strict=True))
        self.held.clear()  # the lists are those of every service's view
        self._held_from.clear()
        for bus in dict.fromkeys(bus for _, bus in late):
            publisher = bus.publisher()
            publisher.publish([message for message, sender in late if sender is bus])
            publisher.close()
        return [message for message, _ in late]

    def deal(self, batch: Sequence[Message]) -> list[Message]:
        """Return what of a batch is really published."""
        there: list[Message] = []
        for message in batch:
            early = self._early.pop((message.key.decode(), kind_of(message)), None)
            for each in (early, message) if early else (message,):
                self.log.append(each)
                there += self._what_comes_of(each)
        return there

    def _what_comes_of(self, message: Message) -> list[Message]:
        this = (message.key.decode(), kind_of(message))
        self.sent[this] += 1
        fate, times = self._wishes.get(this, (Fate.LOST, 0))
        if times < 1:
            return [message]
        self._wishes[this] = (fate, times - 1)
        self.struck[this] += 1
        if fate is Fate.HELD:
            self.held.append(message)
            self._held_from.append(self._inner)
        return [message, message] if fate is Fate.DOUBLED else []

    def of(self, service: str) -> "FaultyBus":
        """Return this bus as the service reaches it: by its own name, and with everybody's fates."""
        theirs: FaultyBus = copy(self)
        theirs._inner = self._of_service.get(service, self._inner)
        return theirs

    def publisher(self) -> "FaultyPublisher":
        return FaultyPublisher(self, self._inner.publisher())

    def consumer(self, group: str, topics: Sequence[str], assignment: Assignment | None = None) -> Consumer:
        return self._inner.consumer(group, topics, assignment)

    def close(self) -> None:
        for bus in (self._inner, *self._of_service.values()):
            bus.close()


class FaultyPublisher:
    """Acknowledges everything, and publishes what its bus lets through."""

    def __init__(self, bus: FaultyBus, inner: Publisher) -> None:
        self._bus = bus
        self._inner = inner

    def publish(self, batch: Sequence[Message]) -> None:
        there = self._bus.deal(batch)
        if there:
            self._inner.publish(there)

    def end_offset(self, place: TopicPartition) -> int:
        return self._inner.end_offset(place)

    def close(self) -> None:
        self._inner.close()
