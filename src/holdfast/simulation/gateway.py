"""The gateway as the saga sees it: starts checkouts, hears of their ends, re-sends what nobody answered."""

from holdfast.bus.memory import MemoryBus
from holdfast.bus.port import BusUnavailable, NotOwner, PublishFailed, TopicPartition
from holdfast.contracts.messages import CheckoutCompleted, CheckoutFailed, CheckoutInitiated
from holdfast.contracts.topics import EVENTS, GATEWAY
from holdfast.messaging.backoff import backoff_ms
from holdfast.messaging.envelope import Envelope, open_record, seal
from holdfast.simulation.faults import Switch
from holdfast.simulation.ports import Network, SimBus
from holdfast.simulation.setup import Setup, Wish

RESEND_MS = 60_000
RESEND_CAP_MS = 600_000
END_OF = {"CheckoutCompleted": "COMPLETED", "CheckoutFailed": "FAILED"}


class GatewayPlay:
    """Its rows survive everything; only its messages may be lost."""

    def __init__(self, setup: Setup, bus: MemoryBus, network: Network, faults: Switch) -> None:
        sim = SimBus(GATEWAY, bus, network, setup.batch_max, faults)
        self._publisher = sim.publisher()
        self._consumer = sim.consumer(GATEWAY, [EVENTS])
        self.open: dict[str, tuple[CheckoutInitiated, int, int]] = {}  # payload, sends, next one due
        self.ends: dict[str, str] = {}
        self.contradictions: set[str] = set()
        self.accepted: dict[str, Wish] = {}
        self._uncommitted: dict[TopicPartition, int] = {}

    def start(self, wish: Wish, now_ms: int) -> bool:
        """Accept a checkout, once."""
        if wish.saga_id in self.accepted:
            return False
        payload = CheckoutInitiated(
            user_id="ada",
            cart_id=wish.cart_id,
            cart_version=1,
            payment_method=wish.card,
            currency="GBP",
            total_minor=wish.total_minor,
            lines=wish.lines,
            not_after_ms=now_ms + wish.ttl_ms,
        )
        self.accepted[wish.saga_id] = wish
        self._send(wish.saga_id, payload, 1, now_ms)
        return True

    def due(self, now_ms: int) -> bool:
        """Tell whether a turn would do something."""
        return (
            bool(self._uncommitted)
            or self._consumer.behind()
            or any(at <= now_ms for _, _, at in self.open.values())
        )

    def turn(self, now_ms: int) -> bool:
        """Hear of ends, re-send what is due."""
        moved = self._hear()
        for saga_id, (payload, sends, at_ms) in list(self.open.items()):
            if at_ms <= now_ms:
                self._send(saga_id, payload, sends + 1, now_ms)
                moved = True
        return moved

    def _hear(self) -> bool:
        try:
            records = self._consumer.poll(500, 0)
        except BusUnavailable:
            return False
        for record in records:
            opened = open_record(record, GATEWAY)
            if isinstance(opened, Envelope):
                assert isinstance(opened.payload, CheckoutCompleted | CheckoutFailed)
                if self.ends.setdefault(opened.saga_id, END_OF[opened.kind]) != END_OF[opened.kind]:
                    self.contradictions.add(opened.saga_id)
                self.open.pop(opened.saga_id, None)
        self._uncommitted |= {record.place: record.offset + 1 for record in records}
        if self._uncommitted:
            try:
                self._consumer.commit(self._uncommitted)
            except BusUnavailable:
                return True
            except NotOwner:
                pass  # another one has them now
            self._uncommitted = {}
        return bool(records)

    def _send(self, saga_id: str, payload: CheckoutInitiated, sends: int, now_ms: int) -> None:
        wait = backoff_ms(sends, RESEND_MS, RESEND_CAP_MS, saga_id)
        self.open[saga_id] = (payload, sends, now_ms + wait)
        message = seal(f"{saga_id}:initiated", "CheckoutInitiated", saga_id, payload, GATEWAY, attempt=sends)
        try:
            self._publisher.publish([message])
        except (BusUnavailable, PublishFailed):
            return  # it is re-sent when its time comes
