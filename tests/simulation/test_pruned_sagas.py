"""Every message of sagas that ended long ago is delivered once more: whatever was pruned, the books stay."""

from collections.abc import Sequence
from typing import Any

import pytest
from tests.memory_platform import MemoryPlatform
from tests.origin import publish_as_written

from holdfast.bus.port import Message, Record
from holdfast.contracts import topics
from holdfast.contracts.codec import encode
from holdfast.contracts.messages import OutcomeRequested, Refused
from holdfast.contracts.topics import INVENTORY, ORDER, PAYLOADS, PAYMENT
from holdfast.messaging.components import Ports
from holdfast.messaging.envelope import Envelope, seal
from holdfast.messaging.ids import uuid7
from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.pruner import Pruner, Retention
from holdfast.saga.state import CANCELLATION_REQUESTED
from holdfast.services.cart_crud import main as cart_crud
from holdfast.services.checkout_orchestrator import main as checkout_orchestrator
from holdfast.services.inventory_write import main as inventory_write
from holdfast.services.order_create import main as order_create
from holdfast.services.payment_gateway import main as payment_gateway

DAY_MS = 86_400_000
RETENTION = Retention(30 * DAY_MS, 14 * DAY_MS, 1_000)
ENDS = {
    "COMPLETED": {"card": "pm_card_visa", "pieces": [("pen", 2)], "held": ""},
    "out of stock": {"card": "pm_card_visa", "pieces": [("gem", 99)], "held": ""},
    "declined": {"card": "pm_card_chargeDeclined", "pieces": [("pen", 3)], "held": ""},
    "above the limit": {"card": "pm_card_visa", "pieces": [("pen", 20_000)], "held": ""},
    "cart on hold": {"card": "pm_card_visa", "pieces": [("ink", 4)], "held": "a check"},
}
ASKERS = {"inventory": INVENTORY, "payment": PAYMENT, "order": ORDER}
NOBODY: tuple[str, ...] = ()
ORCHESTRATOR = ("orchestrator",)
PARTICIPANTS = ("inventory", "payment", "order", "cart")


class Aged:
    """A platform whose sagas ended a month and a day ago, each in one of its ways."""

    def __init__(self) -> None:
        self.platform = MemoryPlatform({"pen": 100_000, "gem": 1, "ink": 10})
        self.sagas: dict[str, str] = {}
        for n, (name, end) in enumerate(ENDS.items()):
            saga_id = str(uuid7(self.platform.now_ms, n))
            self.sagas[name] = saga_id
            pieces: Any = end["pieces"]
            # More of everything than is bought: what is cleared a second time would be missed.
            self.platform.put_cart(
                f"cart-{saga_id}", [(sku, 3 * count) for sku, count in pieces], str(end["held"])
            )
            self.platform.initiate(saga_id, pieces, card=str(end["card"]))
        self.platform.settle()
        assert self.platform.state(self.sagas["COMPLETED"]) == "COMPLETED"
        assert {self.platform.state(s) for s in self.sagas.values()} == {"COMPLETED", "FAILED"}
        self.messages = [_again(record) for log in self.platform.bus.state.log.values() for record in log]
        asks = [(s, step) for s in self.sagas.values() for step in ("inventory", "payment", "order")]
        self.messages += [
            seal(f"{s}:{step}:ask:1", "OutcomeRequested", s, OutcomeRequested(step), ASKERS[step])
            for s, step in asks
        ]
        for saga_id in self.sagas.values():  # also commands that no service sent or should send
            for step in ASKERS:
                for verb, word in (("undo", "Compensate"), ("confirm", "Confirm")):
                    kind, message_id = f"{word}{step.capitalize()}", f"{saga_id}:{step}:{verb}"
                    self.messages.append(
                        seal(message_id, kind, saga_id, PAYLOADS[kind](), topics.ORCHESTRATOR)
                    )
        with self.platform.carts.transaction() as tx:  # what was refused would succeed now
            tx.hold_cart((f"cart-{self.sagas['cart on hold']}", "ada"), "")
        self.platform.advance(31 * DAY_MS)
        self.platform.settle()

    def prune(self, names: Sequence[str]) -> int:
        """Let these services prune once; return how many rows went."""
        platform = self.platform
        pruners: dict[str, Pruner[Any]] = {
            "orchestrator": checkout_orchestrator.pruner(_ports(platform, platform.sagas), RETENTION),
            "inventory": inventory_write.pruner(_ports(platform, platform.inventory), RETENTION),
            "payment": payment_gateway.pruner(_ports(platform, platform.payments), RETENTION),
            "order": order_create.pruner(_ports(platform, platform.orders), RETENTION),
            "cart": cart_crud.pruner(_ports(platform, platform.carts), RETENTION),
        }
        for name in names:
            while not pruners[name].passes:
                pruners[name].prune_page()
        return sum(sum(pruners[name].rows.values()) for name in names)

    def books(self) -> Any:
        """Return all that is counted: pieces, money on both sides, orders, carts and what they lost."""
        platform = self.platform
        tables = [
            *((platform.inventory, name) for name in ("stock", "stock_movement")),
            (platform.payments, "payment"),
            (platform.orders, "orders"),
            *((platform.carts, name) for name in ("cart", "clear_log")),
        ]
        rows = [dict(store.tables.tables.get(name, {})) for store, name in tables]
        return rows, dict(platform.provider.charges), dict(platform.provider.refunds)

    def states(self) -> dict[str, str]:
        return {name: self.platform.state(saga_id) for name, saga_id in self.sagas.items()}

    def deliver(self, messages: Sequence[Message]) -> None:
        publish_as_written(self.platform.bus, messages)
        self.platform.settle()


def _ports(platform: MemoryPlatform, store: MemoryStore[Any]) -> Ports[Any]:
    return Ports(store, platform.bus, lambda: platform.now_ms, "test", 4)


def _again(record: Record) -> Message:
    return Message(record.topic, record.key or b"", record.value, record.headers)


PRUNED = [
    NOBODY,
    ORCHESTRATOR,
    PARTICIPANTS,
    *((name,) for name in PARTICIPANTS),
    (*ORCHESTRATOR, *PARTICIPANTS),
    *(tuple(other for other in (*ORCHESTRATOR, *PARTICIPANTS) if other != name) for name in PARTICIPANTS),
]


@pytest.mark.parametrize("pruned", PRUNED, ids=lambda names: "+".join(names) or "nobody")
def test_an_old_message_does_nothing(pruned: tuple[str, ...]) -> None:
    """Services prune when they like, so that any of them may be ahead of the others."""
    aged = Aged()
    before = aged.books()
    assert (aged.prune(pruned) > 0) == bool(pruned)
    states = aged.states()
    kinds = {dict(message.headers)["ce_type"].decode() for message in aged.messages}
    assert kinds == set(PAYLOADS)
    if len(pruned) in (1, 5):  # each alone, too; the other cases would learn no more from it
        for message in aged.messages:
            aged.deliver([message])
    aged.deliver(aged.messages)
    aged.deliver(aged.messages[::-1])
    assert aged.books() == before
    assert aged.states() == states
    parked = aged.platform.carts.tables.tables.get("parked", {})
    assert parked == {}, "the clearances answer for themselves"


def test_everything_that_may_go_went_and_what_the_cart_refused_stays() -> None:
    aged = Aged()
    aged.prune((*ORCHESTRATOR, *PARTICIPANTS))
    platform = aged.platform
    assert [platform.sagas.tables.tables[name] for name in ("saga", "saga_event", "saga_event_id")] == [
        {}
    ] * 3
    for store in (platform.inventory, platform.payments, platform.orders):
        assert store.tables.tables["fence"] == {}
    assert list(platform.carts.tables.tables["fence"]) == [(aged.sagas["cart on hold"], "cart")]


def test_a_start_of_a_pruned_saga_is_parked_and_begins_nothing() -> None:
    aged = Aged()
    aged.prune(ORCHESTRATOR)
    starts = [m for m in aged.messages if dict(m.headers)["ce_type"] == b"CheckoutInitiated"]
    aged.deliver(starts)
    parked = aged.platform.sagas.tables.tables["parked"].values()
    assert {(row.saga_id, row.reason) for row in parked} == {(s, "pruned_saga") for s in aged.sagas.values()}
    assert set(aged.states().values()) == {"NONE"}


def test_a_start_past_its_last_moment_begins_a_saga_that_was_never_there_and_inventory_refuses() -> None:
    """Nothing was pruned up to its key: it may be an accept that was never heard of, and deserves its end."""
    aged = Aged()
    young = str(uuid7(aged.platform.now_ms, 1))
    aged.prune((*ORCHESTRATOR, *PARTICIPANTS))
    aged.platform.initiate(young, [("pen", 1)])
    aged.platform.advance(8 * DAY_MS)
    aged.platform.settle()
    with aged.platform.sagas.transaction() as tx:
        saga = tx.read_saga(young)
    assert saga is not None
    assert (saga.state, saga.reason) == ("FAILED", "expired")


def test_a_cancellation_of_a_pruned_saga_writes_none() -> None:
    aged = Aged()
    aged.prune(ORCHESTRATOR)
    saga_id, refusal = aged.sagas["COMPLETED"], Refused("canceled", "")
    event = Envelope(f"{saga_id}:cancel", CANCELLATION_REQUESTED, saga_id, refusal, encode(refusal), 1, None)
    with aged.platform.sagas.transaction() as tx:
        handled = aged.platform.orchestrator.checkout_service.handle(tx, [event])
    assert [parked.reason for parked in handled.parked] == ["pruned_saga"]
    assert aged.platform.state(saga_id) == "NONE"
