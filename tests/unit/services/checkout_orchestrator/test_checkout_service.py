"""CheckoutService: the way of an event to `decide` and of what it decides to the database."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.samples import SAMPLES, saga_id

from holdfast.bus.partitioner import partition_of
from holdfast.contracts.codec import encode
from holdfast.contracts.messages import Payload, Refused
from holdfast.contracts.steps import PATIENCE_OF_STEP_MS
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.store import StoreUnavailable, TimerKey, TimerRow
from holdfast.messaging.timers import DEADLINE, FiredTimer, TimerSettings
from holdfast.saga.state import CANCELLATION_REQUESTED, SagaInstance
from holdfast.sagas.checkout import CHECKOUT
from holdfast.services.checkout_orchestrator.checkout_service import CheckoutService
from holdfast.services.checkout_orchestrator.memory_store import MemorySagaTransaction
from holdfast.services.checkout_orchestrator.store_port import HistoryRow, IgnoredRow

A, B = saga_id(1), saga_id(2)
PARTITIONS = 4
SETTINGS = TimerSettings(patience_of_step_ms=PATIENCE_OF_STEP_MS)
HAPPY = ("CheckoutInitiated", "InventoryReserved", "PaymentProcessed", "OrderCreated", "CartCleared")


def event(kind: str, saga: str = A, payload: Payload | None = None, suffix: str = "") -> Envelope:
    payload = payload or SAMPLES[kind]
    return Envelope(f"{saga}:{suffix or kind}", kind, saga, payload, encode(payload), 1, None)


class Harness:
    """The orchestrator's handler on memory."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000
        self.store = MemoryStore(MemorySagaTransaction, lambda: self.now_ms)
        self.service = CheckoutService({1: CHECKOUT}, PARTITIONS, SETTINGS)

    def hear(self, *events: Envelope) -> HandlerResult:
        """Handle these events as one batch."""
        with self.store.transaction() as tx:
            return self.service.handle(tx, events)

    def sent(self, *kinds: str, saga: str = A) -> list[str]:
        """Handle these events as one batch; return the types of what follows."""
        return [reply.kind for reply in self.hear(*(event(kind, saga) for kind in kinds)).messages_to_seal]

    def fire(self, *timers: FiredTimer) -> HandlerResult:
        with self.store.transaction() as tx:
            return self.service.fire(tx, timers)

    def rows(self, table: str) -> dict[Any, Any]:
        return self.store.tables.tables.get(table, {})

    def saga(self, saga: str = A) -> SagaInstance:
        found: SagaInstance = self.rows("saga")[saga]
        return found

    def history(self, saga: str = A) -> list[HistoryRow]:
        with self.store.transaction() as tx:
            return tx.read_history(saga)

    def timers(self) -> dict[TimerKey, TimerRow]:
        return self.rows("timers")

    def fired(self, step: str, verb: str = "do", *, overdue: bool = False, n: int = 0) -> FiredTimer:
        row = self.timers()[TimerKey(A, step, verb)]._replace(fired=n)
        return FiredTimer(row, overdue, end_offset=70)


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_a_whole_checkout_in_one_batch_writes_each_row_once(harness: Harness) -> None:
    assert harness.sent(*HAPPY) == [
        "ReserveInventory",
        "ProcessPayment",
        "CreateOrder",
        "ClearCart",
        "ConfirmInventory",
        "ConfirmPayment",
        "ConfirmOrder",
        "CheckoutCompleted",
    ]
    assert harness.saga().state == "COMPLETED"
    assert [row.kind for row in harness.history()] == list(HAPPY)
    assert not harness.timers()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_however_events_are_batched_the_end_is_the_same(size: int) -> None:
    whole, cut = Harness(), Harness()
    whole.sent(*HAPPY)
    for start in range(0, len(HAPPY), size):
        cut.sent(*HAPPY[start : start + size])
    assert cut.saga() == whole.saga()
    assert cut.history() == whole.history()
    assert cut.timers() == whole.timers()


def test_line_4_a_history_row_holds_the_event_its_path_and_the_moment_of_the_decision(
    harness: Harness,
) -> None:
    harness.sent("CheckoutInitiated")
    harness.now_ms += 5
    harness.sent("InventoryReserved")
    assert harness.history()[1] == HistoryRow(
        saga_id=A,
        seq=2,
        event_id=f"{A}:InventoryReserved",
        kind="InventoryReserved",
        payload=encode(SAMPLES["InventoryReserved"]),
        path=("INVENTORY_RESERVED", "PAYMENT_PROCESSING_PENDING"),
        at_ms=harness.now_ms,
    )


@pytest.mark.parametrize("together", [True, False])
def test_line_4_a_repeated_event_that_changed_the_saga_is_ignored_and_counted(
    harness: Harness, together: bool
) -> None:
    harness.sent("CheckoutInitiated")
    if together:
        assert harness.sent("InventoryReserved", "InventoryReserved") == ["ProcessPayment"]
    else:
        assert harness.sent("InventoryReserved") == ["ProcessPayment"]
        assert harness.sent("InventoryReserved") == []
    assert harness.sent("InventoryReserved") == []
    ignored = IgnoredRow(A, f"{A}:InventoryReserved", "InventoryReserved", "repeated")
    assert harness.rows("saga_ignored") == {(A, f"{A}:InventoryReserved"): (ignored, 2)}
    assert harness.saga().version == 2


def test_line_4_an_ignored_event_does_not_suppress_its_repeat(harness: Harness) -> None:
    """PaymentProcessed comes before its time, is ignored, and counts when it is sent again."""
    harness.sent("CheckoutInitiated")
    assert harness.sent("PaymentProcessed") == []
    [(row, times)] = harness.rows("saga_ignored").values()
    assert (row.reason, times) == ("not_awaited", 1)
    harness.sent("InventoryReserved")
    assert harness.sent("PaymentProcessed") == ["CreateOrder"]


def test_line_4_a_parked_event_leaves_no_row(harness: Harness) -> None:
    handled = harness.hear(event("InventoryReserved"))
    assert [(p.reason, p.envelope.saga_id) for p in handled.parked] == [("unknown_saga", A)]
    assert not handled.messages_to_seal
    assert not any(harness.rows(t) for t in ("saga", "saga_event", "saga_ignored", "timers"))
    assert harness.sent("CheckoutInitiated", "InventoryReserved") == ["ReserveInventory", "ProcessPayment"]


def test_an_event_of_an_unknown_saga_does_not_disturb_its_batch(harness: Harness) -> None:
    handled = harness.hear(event("InventoryReserved", B), event("CheckoutInitiated"))
    assert [reply.kind for reply in handled.messages_to_seal] == ["ReserveInventory"]
    assert len(handled.parked) == 1


def test_line_12_a_repeated_start_earns_the_end_again(harness: Harness) -> None:
    harness.sent(*HAPPY)
    assert harness.sent("CheckoutInitiated") == ["CheckoutCompleted"]
    assert harness.saga().version == 5


def test_line_12_asking_is_never_in_the_history_nor_among_the_ignored(harness: Harness) -> None:
    harness.sent("CheckoutInitiated", "InventoryReservationFailed")
    assert harness.sent("OutcomeRequested") == ["CompensateOrder", "CompensatePayment", "CompensateInventory"]
    assert len(harness.history()) == 2
    assert not harness.rows("saga_ignored")


def test_two_sagas_in_one_batch_do_not_meet(harness: Harness) -> None:
    harness.hear(event("CheckoutInitiated"), event("CheckoutInitiated", B), event("InventoryReserved", B))
    assert harness.saga().state == "INVENTORY_RESERVATION_PENDING"
    assert harness.saga(B).state == "PAYMENT_PROCESSING_PENDING"


def test_every_message_names_the_event_that_caused_it(harness: Harness) -> None:
    handled = harness.hear(event("CheckoutInitiated"), event("InventoryReserved"))
    assert [(reply.message_id, reply.cause, reply.attempt) for reply in handled.messages_to_seal] == [
        (f"{A}:inventory:do", f"{A}:CheckoutInitiated", 1),
        (f"{A}:payment:do", f"{A}:InventoryReserved", 1),
    ]


def test_reactions_are_counted_by_their_seed_names(harness: Harness) -> None:
    harness.sent("CheckoutInitiated", "InventoryReserved", "PaymentFailed", "OutcomeRequested")
    assert dict(harness.service.metrics.reactions) == {
        "handle_checkout_initiated": 1,
        "handle_inventory_reserved": 1,
        "handle_payment_failed": 1,
        "OutcomeRequested": 1,
    }


def test_a_saga_goes_on_under_the_rules_that_it_began_with(harness: Harness) -> None:
    harness.sent("CheckoutInitiated")
    shorter = replace(CHECKOUT, version=2, steps=CHECKOUT.steps[:1] + CHECKOUT.steps[2:], reactions={})
    harness.service = CheckoutService({1: CHECKOUT, 2: shorter}, PARTITIONS, SETTINGS)
    assert harness.sent("CheckoutInitiated", saga=B) == ["ReserveInventory"]
    assert harness.sent("InventoryReserved") == ["ProcessPayment"]
    assert harness.sent("InventoryReserved", saga=B) == ["CreateOrder"]
    assert (harness.saga().definition_version, harness.saga(B).definition_version) == (1, 2)


def test_a_saga_that_somebody_else_changed_meanwhile_is_trouble_not_a_bug(harness: Harness) -> None:
    harness.sent("CheckoutInitiated")
    stale = harness.saga()
    harness.sent("InventoryReserved")
    with pytest.raises(StoreUnavailable), harness.store.transaction() as tx:
        tx.save_sagas([stale._replace(version=2)], ())


# -- deadlines


def test_line_13_a_deadline_is_written_for_the_sagas_partition_by_the_databases_clock(
    harness: Harness,
) -> None:
    harness.sent("CheckoutInitiated")
    key = TimerKey(A, "inventory", "do")
    assert harness.timers() == {
        key: TimerRow(
            key,
            DEADLINE,
            partition_of(A.encode(), PARTITIONS),
            since_ms=harness.now_ms,
            due_ms=harness.now_ms + SETTINGS.resend_after_ms,
        )
    }


def test_line_13_timers_go_with_the_transition_also_inside_one_batch(harness: Harness) -> None:
    harness.sent("CheckoutInitiated", "InventoryReserved")
    assert [key.step for key in harness.timers()] == ["payment"]
    harness.sent("PaymentProcessed", "OrderCreationFailed")
    assert {(key.step, key.verb) for key in harness.timers()} == {("payment", "undo"), ("inventory", "undo")}
    harness.sent("InventoryCompensated", "PaymentCompensated")
    assert not harness.timers()


def test_line_2_a_command_sent_again_keeps_its_id_and_counts_up_its_attempt(harness: Harness) -> None:
    first = harness.hear(event("CheckoutInitiated")).messages_to_seal[0]
    for n in range(3):
        handled = harness.fire(harness.fired("inventory", n=n))
        [again] = handled.messages_to_seal
        assert again == first._replace(cause=f"{A}:inventory:do:deadline:{n + 1}", attempt=n + 2)
        [row] = handled.fired
        assert (row.fired, row.end_offset) == (n + 1, 70)
    assert [row.path for row in harness.history()[1:]] == [(), (), ()]


def test_line_2_the_undo_that_an_expired_deadline_sends_is_a_first_attempt(harness: Harness) -> None:
    harness.sent("CheckoutInitiated", "InventoryReserved")
    handled = harness.fire(harness.fired("payment", overdue=True, n=4))
    assert [(reply.kind, reply.attempt) for reply in handled.messages_to_seal] == [
        ("CompensatePayment", 1),
        ("CompensateInventory", 1),
    ]
    assert not handled.fired
    assert {(key.step, key.verb) for key in harness.timers()} == {("payment", "undo"), ("inventory", "undo")}
    assert harness.saga().reason == "deadline"


def test_a_deadline_that_nobody_needs_removes_its_timer_and_leaves_no_trace(harness: Harness) -> None:
    harness.sent("CheckoutInitiated")
    stray = harness.fired("inventory")
    harness.sent("InventoryReserved")
    with harness.store.transaction() as tx:
        tx.set_timers([stray.row])
    before = harness.saga()
    handled = harness.fire(stray)
    assert not handled.messages_to_seal
    assert [key.step for key in harness.timers()] == ["payment"]
    assert harness.saga() == before
    assert not harness.rows("saga_ignored")


def test_two_undos_of_one_saga_may_fire_together(harness: Harness) -> None:
    harness.sent("CheckoutInitiated", "InventoryReserved", "PaymentProcessed", "OrderCreationFailed")
    handled = harness.fire(harness.fired("payment", "undo"), harness.fired("inventory", "undo", overdue=True))
    assert [reply.kind for reply in handled.messages_to_seal] == ["CompensatePayment", "CompensateInventory"]
    assert [reply.attempt for reply in handled.messages_to_seal] == [2, 2]
    assert len(handled.fired) == 2
    assert harness.saga().stalled_ms == harness.now_ms


def test_line_8_a_cancellation_may_bear_its_saga(harness: Harness) -> None:
    assert _cancel(harness, [A]) == ["CheckoutFailed"]
    assert harness.saga().state == "FAILED"
    assert harness.sent("CheckoutInitiated") == ["CheckoutFailed"]


def _cancel(harness: Harness, sagas: Sequence[str]) -> list[str]:
    refused = Refused("canceled", "by the shopper")
    handled = harness.hear(*(event(CANCELLATION_REQUESTED, saga, refused, "cancel") for saga in sagas))
    return [reply.kind for reply in handled.messages_to_seal]


def test_a_saga_under_rules_that_only_a_newer_program_knows_is_left_to_it(harness: Harness) -> None:
    """As on an instance of yesterday beside one of today: its message is parked, its deadline put off."""
    harness.sent("CheckoutInitiated")
    harness.sent("CheckoutInitiated", saga=B)
    sagas = harness.rows("saga")
    sagas[A] = sagas[A]._replace(definition_version=2)
    handled = harness.hear(event("InventoryReserved"), event("InventoryReserved", B))
    assert [(p.envelope.saga_id, p.reason) for p in handled.parked] == [(A, "unknown_definition")]
    assert [reply.kind for reply in handled.messages_to_seal] == ["ProcessPayment"], "the other goes on"
    [row] = [row for row in harness.rows("timers").values() if row.key.saga_id == A]
    handled = harness.fire(FiredTimer(row, overdue=True, end_offset=0))
    assert handled.messages_to_seal == []
    assert harness.rows("timers")[row.key] == row._replace(due_ms=harness.now_ms + SETTINGS.backoff_cap_ms)
    sagas[A] = sagas[A]._replace(definition_version=1)
    assert harness.sent("InventoryReserved") == ["ProcessPayment"], "who knows them, takes it"
