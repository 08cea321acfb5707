"""A bus that loses, doubles or holds back messages of chosen kinds, in front of any bus.

The fault strikes at publishing, and the publisher is told of success: the worst moment.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum

from holdfast.bus.port import Bus, Consumer, Message, Publisher, RebalanceListener, TopicPartition
from holdfast.contracts.topics import ORCHESTRATOR, SERVICES, TOPICS


class DeliveryFault(StrEnum):
    """What becomes of a message that was acknowledged."""

    LOST = "lost"
    DOUBLED = "doubled"
    HELD = "held"


def kind_of(message: Message) -> str:
    """Return the message's type, or "" if its topic is not of the contracts (a dead letter)."""
    return dict(message.headers)["ce_type"].decode() if message.topic in TOPICS else ""


class FaultyBus:
    """Wraps `inner_of`, the bus as each service holds it, made once for each.

    `struck` counts the messages that met their fault, `sent` all of them; by saga and kind.
    """

    def __init__(self, inner_of: Callable[[str], Bus]) -> None:
        self._inners = {service: inner_of(service) for service in SERVICES}
        self._faults: dict[tuple[str, str], tuple[DeliveryFault, float]] = {}
        self._early: dict[tuple[str, str], Message] = {}
        self.struck: Counter[tuple[str, str]] = Counter()
        self.sent: Counter[tuple[str, str]] = Counter()
        self.log: list[Message] = []
        self.held: list[tuple[str, Message]] = []
        self.create_topics = self._inners[ORCHESTRATOR].create_topics

    def of(self, service: str) -> "FaultyView":
        """Return the bus as this service holds it."""
        return FaultyView(self, service, self._inners[service])

    def strike(self, saga_id: str, kind: str, fault: DeliveryFault, times: float = 1) -> None:
        """Let the next `times` messages of `kind` of this saga meet `fault`."""
        self._faults[saga_id, kind] = (fault, times)

    def precede(self, kind: str, early: Message) -> None:
        """Let `early` be published just before the first message of `kind` of its saga."""
        self._early[early.key.decode(), kind] = early

    def release(self) -> list[Message]:
        """Deliver what was held back, strike no more, and return the delivered messages."""
        self._faults.clear()
        late, self.held = self.held, []
        for service in dict.fromkeys(service for service, _ in late):
            publisher = self._inners[service].publisher()
            publisher.publish([message for of, message in late if of == service])
            publisher.close()
        return [message for _, message in late]

    def close(self) -> None:
        for inner in self._inners.values():
            inner.close()

    def deal(self, service: str, batch: Sequence[Message]) -> list[Message]:
        """Return the messages that are really published for this batch."""
        published: list[Message] = []
        for message in batch:
            early = self._early.pop((message.key.decode(), kind_of(message)), None)
            for each in (early, message) if early else (message,):
                self.log.append(each)
                published += self._apply_fault(service, each)
        return published

    def _apply_fault(self, service: str, message: Message) -> list[Message]:
        key = (message.key.decode(), kind_of(message))
        self.sent[key] += 1
        fault, times = self._faults.get(key, (DeliveryFault.LOST, 0))
        if times < 1:
            return [message]
        self._faults[key] = (fault, times - 1)
        self.struck[key] += 1
        if fault is DeliveryFault.HELD:
            self.held.append((service, message))
        return [message, message] if fault is DeliveryFault.DOUBLED else []


class FaultyView:
    """The faulty bus as one service holds it."""

    def __init__(self, bus: FaultyBus, service: str, inner: Bus) -> None:
        self._bus = bus
        self._service = service
        self._inner = inner
        self.proves_sources = getattr(inner, "proves_sources", False)
        self.create_topics = inner.create_topics
        self.partition_count = inner.partition_count
        self.describe_topics = inner.describe_topics

    def publisher(self) -> "FaultyPublisher":
        return FaultyPublisher(self._bus, self._service, self._inner.publisher())

    def consumer(
        self, group: str, topics: Sequence[str], assignment: RebalanceListener | None = None
    ) -> Consumer:
        return self._inner.consumer(group, topics, assignment)

    def close(self) -> None:
        self._inner.close()


class FaultyPublisher:
    """Acknowledges everything, and publishes what its bus lets through."""

    def __init__(self, bus: FaultyBus, service: str, inner: Publisher) -> None:
        self._bus = bus
        self._service = service
        self._inner = inner

    def publish(self, batch: Sequence[Message]) -> None:
        published = self._bus.deal(self._service, batch)
        if published:
            self._inner.publish(published)

    def end_offset(self, place: TopicPartition) -> int:
        return self._inner.end_offset(place)

    def close(self) -> None:
        self._inner.close()
