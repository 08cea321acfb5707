"""CheckoutService: the way of an event to `decide` and of what it decides to the database."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.samples import SAMPLES, saga_id

from holdfast.bus.partitioner import partition_of
from holdfast.contracts.codec import encode
from holdfast.contracts.messages import Payload, Refused
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
SETTINGS = TimerSettings()
HAPPY = ("CheckoutInitiated", "InventoryReserved", "PaymentProcessed", "OrderCreated", "CartCleared")


def event(kind: str, saga: str = A, payload: Payload | None = None, suffix: str = "") -> Envelope:
    payload = payload or SAMPLES[kind]
    return Envelope(f"{saga}:{suffix or kind}", kind, saga, payload, encode(payload), 1, None)


class Office:
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
def office() -> Office:
    return Office()


def test_a_whole_checkout_in_one_batch_writes_each_row_once(office: Office) -> None:
    assert office.sent(*HAPPY) == [
        "ReserveInventory",
        "ProcessPayment",
        "CreateOrder",
        "ClearCart",
        "ConfirmInventory",
        "ConfirmPayment",
        "ConfirmOrder",
        "CheckoutCompleted",
    ]
    assert office.saga().state == "COMPLETED"
    assert [row.kind for row in office.history()] == list(HAPPY)
    assert not office.timers()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_however_events_are_batched_the_end_is_the_same(size: int) -> None:
    whole, cut = Office(), Office()
    whole.sent(*HAPPY)
    for start in range(0, len(HAPPY), size):
        cut.sent(*HAPPY[start : start + size])
    assert cut.saga() == whole.saga()
    assert cut.history() == whole.history()
    assert cut.timers() == whole.timers()


def test_line_4_a_history_row_holds_the_event_its_path_and_the_moment_of_the_decision(office: Office) -> None:
    office.sent("CheckoutInitiated")
    office.now_ms += 5
    office.sent("InventoryReserved")
    assert office.history()[1] == HistoryRow(
        saga_id=A,
        seq=2,
        event_id=f"{A}:InventoryReserved",
        kind="InventoryReserved",
        payload=encode(SAMPLES["InventoryReserved"]),
        path=("INVENTORY_RESERVED", "PAYMENT_PROCESSING_PENDING"),
        at_ms=office.now_ms,
    )


@pytest.mark.parametrize("together", [True, False])
def test_line_4_a_repeated_event_that_changed_the_saga_is_ignored_and_counted(
    office: Office, together: bool
) -> None:
    office.sent("CheckoutInitiated")
    if together:
        assert office.sent("InventoryReserved", "InventoryReserved") == ["ProcessPayment"]
    else:
        assert office.sent("InventoryReserved") == ["ProcessPayment"]
        assert office.sent("InventoryReserved") == []
    assert office.sent("InventoryReserved") == []
    ignored = IgnoredRow(A, f"{A}:InventoryReserved", "InventoryReserved", "repeated")
    assert office.rows("saga_ignored") == {(A, f"{A}:InventoryReserved"): (ignored, 2)}
    assert office.saga().version == 2


def test_line_4_an_ignored_event_does_not_suppress_its_repeat(office: Office) -> None:
    """PaymentProcessed comes before its time, is ignored, and counts when it is sent again."""
    office.sent("CheckoutInitiated")
    assert office.sent("PaymentProcessed") == []
    [(row, times)] = office.rows("saga_ignored").values()
    assert (row.reason, times) == ("not_awaited", 1)
    office.sent("InventoryReserved")
    assert office.sent("PaymentProcessed") == ["CreateOrder"]


def test_line_4_a_parked_event_leaves_no_row(office: Office) -> None:
    handled = office.hear(event("InventoryReserved"))
    assert [(p.reason, p.envelope.saga_id) for p in handled.parked] == [("unknown_saga", A)]
    assert not handled.messages_to_seal
    assert not any(office.rows(t) for t in ("saga", "saga_event", "saga_ignored", "timers"))
    assert office.sent("CheckoutInitiated", "InventoryReserved") == ["ReserveInventory", "ProcessPayment"]


def test_an_event_of_an_unknown_saga_does_not_disturb_its_batch(office: Office) -> None:
    handled = office.hear(event("InventoryReserved", B), event("CheckoutInitiated"))
    assert [reply.kind for reply in handled.messages_to_seal] == ["ReserveInventory"]
    assert len(handled.parked) == 1


def test_line_12_a_repeated_start_earns_the_end_again(office: Office) -> None:
    office.sent(*HAPPY)
    assert office.sent("CheckoutInitiated") == ["CheckoutCompleted"]
    assert office.saga().version == 5


def test_line_12_asking_is_never_in_the_history_nor_among_the_ignored(office: Office) -> None:
    office.sent("CheckoutInitiated", "InventoryReservationFailed")
    assert office.sent("OutcomeRequested") == ["CompensateOrder", "CompensatePayment", "CompensateInventory"]
    assert len(office.history()) == 2
    assert not office.rows("saga_ignored")


def test_two_sagas_in_one_batch_do_not_meet(office: Office) -> None:
    office.hear(event("CheckoutInitiated"), event("CheckoutInitiated", B), event("InventoryReserved", B))
    assert office.saga().state == "INVENTORY_RESERVATION_PENDING"
    assert office.saga(B).state == "PAYMENT_PROCESSING_PENDING"


def test_every_message_names_the_event_that_caused_it(office: Office) -> None:
    handled = office.hear(event("CheckoutInitiated"), event("InventoryReserved"))
    assert [(reply.message_id, reply.cause, reply.attempt) for reply in handled.messages_to_seal] == [
        (f"{A}:inventory:do", f"{A}:CheckoutInitiated", 1),
        (f"{A}:payment:do", f"{A}:InventoryReserved", 1),
    ]


def test_reactions_are_counted_by_their_seed_names(office: Office) -> None:
    office.sent("CheckoutInitiated", "InventoryReserved", "PaymentFailed", "OutcomeRequested")
    assert dict(office.service.metrics.reactions) == {
        "handle_checkout_initiated": 1,
        "handle_inventory_reserved": 1,
        "handle_payment_failed": 1,
        "OutcomeRequested": 1,
    }


def test_a_saga_goes_on_under_the_rules_that_it_began_with(office: Office) -> None:
    office.sent("CheckoutInitiated")
    longer = replace(CHECKOUT, version=2, steps=CHECKOUT.steps[:1] + CHECKOUT.steps[2:])
    office.service = CheckoutService({1: CHECKOUT, 2: longer}, PARTITIONS, SETTINGS)
    assert office.sent("CheckoutInitiated", saga=B) == ["ReserveInventory"]
    assert office.sent("InventoryReserved") == ["ProcessPayment"]
    assert office.sent("InventoryReserved", saga=B) == ["CreateOrder"]
    assert (office.saga().definition_version, office.saga(B).definition_version) == (1, 2)


def test_a_saga_that_somebody_else_changed_meanwhile_is_trouble_not_a_bug(office: Office) -> None:
    office.sent("CheckoutInitiated")
    stale = office.saga()
    office.sent("InventoryReserved")
    with pytest.raises(StoreUnavailable), office.store.transaction() as tx:
        tx.save_sagas([stale._replace(version=2)], ())


# -- deadlines


def test_line_13_a_deadline_is_written_for_the_sagas_partition_by_the_databases_clock(office: Office) -> None:
    office.sent("CheckoutInitiated")
    key = TimerKey(A, "inventory", "do")
    assert office.timers() == {
        key: TimerRow(
            key,
            DEADLINE,
            partition_of(A.encode(), PARTITIONS),
            since_ms=office.now_ms,
            due_ms=office.now_ms + SETTINGS.resend_after_ms,
        )
    }


def test_line_13_timers_go_with_the_transition_also_inside_one_batch(office: Office) -> None:
    office.sent("CheckoutInitiated", "InventoryReserved")
    assert [key.step for key in office.timers()] == ["payment"]
    office.sent("PaymentProcessed", "OrderCreationFailed")
    assert {(key.step, key.verb) for key in office.timers()} == {("payment", "undo"), ("inventory", "undo")}
    office.sent("InventoryCompensated", "PaymentCompensated")
    assert not office.timers()


def test_line_2_a_command_sent_again_keeps_its_id_and_counts_up_its_attempt(office: Office) -> None:
    first = office.hear(event("CheckoutInitiated")).messages_to_seal[0]
    for n in range(3):
        handled = office.fire(office.fired("inventory", n=n))
        [again] = handled.messages_to_seal
        assert again == first._replace(cause=f"{A}:inventory:do:deadline:{n + 1}", attempt=n + 2)
        [row] = handled.fired
        assert (row.fired, row.end_offset) == (n + 1, 70)
    assert [row.path for row in office.history()[1:]] == [(), (), ()]


def test_line_2_the_undo_that_an_expired_deadline_sends_is_a_first_attempt(office: Office) -> None:
    office.sent("CheckoutInitiated", "InventoryReserved")
    handled = office.fire(office.fired("payment", overdue=True, n=4))
    assert [(reply.kind, reply.attempt) for reply in handled.messages_to_seal] == [
        ("CompensatePayment", 1),
        ("CompensateInventory", 1),
    ]
    assert not handled.fired
    assert {(key.step, key.verb) for key in office.timers()} == {("payment", "undo"), ("inventory", "undo")}
    assert office.saga().reason == "deadline"


def test_a_deadline_that_nobody_needs_removes_its_timer_and_leaves_no_trace(office: Office) -> None:
    office.sent("CheckoutInitiated")
    stray = office.fired("inventory")
    office.sent("InventoryReserved")
    with office.store.transaction() as tx:
        tx.set_timers([stray.row])
    before = office.saga()
    handled = office.fire(stray)
    assert not handled.messages_to_seal
    assert [key.step for key in office.timers()] == ["payment"]
    assert office.saga() == before
    assert not office.rows("saga_ignored")


def test_two_undos_of_one_saga_may_fire_together(office: Office) -> None:
    office.sent("CheckoutInitiated", "InventoryReserved", "PaymentProcessed", "OrderCreationFailed")
    handled = office.fire(office.fired("payment", "undo"), office.fired("inventory", "undo", overdue=True))
    assert [reply.kind for reply in handled.messages_to_seal] == ["CompensatePayment", "CompensateInventory"]
    assert [reply.attempt for reply in handled.messages_to_seal] == [2, 2]
    assert len(handled.fired) == 2
    assert office.saga().stalled_ms == office.now_ms


def test_line_8_a_cancellation_may_bear_its_saga(office: Office) -> None:
    assert _cancel(office, [A]) == ["CheckoutFailed"]
    assert office.saga().state == "FAILED"
    assert office.sent("CheckoutInitiated") == ["CheckoutFailed"]


def _cancel(office: Office, sagas: Sequence[str]) -> list[str]:
    refused = Refused("canceled", "by the shopper")
    handled = office.hear(*(event(CANCELLATION_REQUESTED, saga, refused, "cancel") for saga in sagas))
    return [reply.kind for reply in handled.messages_to_seal]


def test_a_saga_under_rules_that_only_a_newer_program_knows_is_left_to_it(office: Office) -> None:
    """As on an instance of yesterday beside one of today: its message is parked, its deadline put off."""
    office.sent("CheckoutInitiated")
    office.sent("CheckoutInitiated", saga=B)
    sagas = office.rows("saga")
    sagas[A] = sagas[A]._replace(definition_version=2)
    handled = office.hear(event("InventoryReserved"), event("InventoryReserved", B))
    assert [(p.envelope.saga_id, p.reason) for p in handled.parked] == [(A, "unknown_definition")]
    assert [reply.kind for reply in handled.messages_to_seal] == ["ProcessPayment"], "the other goes on"
    [row] = [row for row in office.rows("timers").values() if row.key.saga_id == A]
    handled = office.fire(FiredTimer(row, overdue=True, end_offset=0))
    assert handled.messages_to_seal == []
    assert office.rows("timers")[row.key] == row._replace(due_ms=office.now_ms + SETTINGS.backoff_cap_ms)
    sagas[A] = sagas[A]._replace(definition_version=1)
    assert office.sent("InventoryReserved") == ["ProcessPayment"], "who knows them, takes it"
