"""payment-gateway: commands and the charge loop on both stores, whatever the provider answers."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.stores.batches import Command, envelopes
from tests.integration.stores.store_pairs import HOUR_MS, START_MS, StorePair, sequences
from tests.samples import SAMPLES, saga_id

from holdfast.bus.memory import MemoryBus
from holdfast.messaging.batch_processor import BatchProcessor
from holdfast.messaging.fence import Fence, FenceState
from holdfast.messaging.participant import ParticipantHandler
from holdfast.messaging.producer import ProducerManager
from holdfast.messaging.relay import Relay
from holdfast.messaging.store import Store, TimerKey, TimerRow
from holdfast.messaging.timers import RESOLVE
from holdfast.services.payment_gateway.call_lanes import LANES, ClaimLimit
from holdfast.services.payment_gateway.charging import HORIZON_MS, ChargeLoop
from holdfast.services.payment_gateway.domain import (
    Declined,
    Payment,
    ProviderCall,
    ProviderResult,
    Succeeded,
    Unknown,
)
from holdfast.services.payment_gateway.handlers import (
    OpenMoney,
    PaymentParticipant,
    PaymentRow,
    PaymentTransaction,
    resolve_timer,
)
from holdfast.services.payment_gateway.memory_store import MemoryPaymentTransaction
from holdfast.services.payment_gateway.store import PostgresPaymentTransaction

SAGAS = [saga_id(n) for n in range(1, 5)]


def every_lane(calls_max: int) -> list[ClaimLimit]:
    return [ClaimLimit(*lane, calls_max) for lane in LANES]


class AnswersInTurn:
    """A provider that answers from a list, the same to both stores, because each has one of its own."""

    def __init__(self) -> None:
        self.answers: list[ProviderResult] = []
        self.calls: list[ProviderCall] = []

    def call(self, calls: Sequence[ProviderCall]) -> list[ProviderResult]:
        self.calls += [call._replace(since_ms=0) for call in calls]
        return [self.answers[n % len(self.answers)] for n, _ in enumerate(calls)]

    def close(self) -> None:
        """Do nothing."""


class Loop:
    """A charge loop on one store."""

    def __init__(self, store: Store[PaymentTransaction]) -> None:
        self.store = store
        self.provider = AnswersInTurn()
        handler = ParticipantHandler(PaymentParticipant())
        relay = Relay(ProducerManager(MemoryBus(lambda: 0.0)), "me")
        self.charges = ChargeLoop(BatchProcessor("payment-gateway", store, handler), relay, self.provider)

    def run(self, answers: list[ProviderResult]) -> None:
        """Make every call due, then run the loop once, in an order that both stores share."""
        with self.store.transaction() as tx:
            due = sorted(tx.peek_due_calls(every_lane(100), -10 * HOUR_MS))
            tx.set_timers([row._replace(due_ms=n) for n, row in enumerate(due)])
        self.provider.answers = answers
        self.charges.run_once()


@pytest.fixture
def store_pair(database: str) -> Iterator[StorePair]:
    package = "holdfast.services.payment_gateway"
    store_pair = StorePair(database, package, PostgresPaymentTransaction, MemoryPaymentTransaction)
    yield store_pair
    store_pair.close()


KINDS = ["ProcessPayment", "ProcessPayment", "CompensatePayment", "ConfirmPayment"]
COMMANDS = st.lists(
    st.builds(lambda n, kind: Command(n, kind, SAMPLES[kind]), st.integers(1, 4), st.sampled_from(KINDS)),
    min_size=1,
    max_size=5,
)
ANSWERS = st.lists(
    st.sampled_from(
        [
            Succeeded("ref_1"),
            Succeeded("ref_2"),
            Declined("insufficient_funds", "no"),
            Unknown("timeout"),
            Unknown("http_500"),
            Unknown("not_found", 600_000),
        ]
    ),
    min_size=1,
    max_size=3,
)


@sequences
@given(rounds=st.lists(COMMANDS | ANSWERS, max_size=12))
def test_payments_are_resolved_the_same(store_pair: StorePair, rounds: list[list[Any]]) -> None:
    store_pair.reset()
    handler = ParticipantHandler(PaymentParticipant())
    loops = [Loop(store_pair.postgres), Loop(store_pair.memory)]
    for items in rounds:
        if isinstance(items[0], Command):
            heard = envelopes(items, "payment")
            store_pair.transact(lambda tx, heard=heard: _answers(handler.handle(tx, heard)))  # type: ignore[misc]
        else:
            for loop in loops:
                loop.run(items)
        store_pair.transact(_state)
    assert loops[0].provider.calls == loops[1].provider.calls
    assert loops[0].charges.alarms == loops[1].charges.alarms


def _answers(handled: Any) -> Any:
    return handled.messages_to_seal, handled.parked


def _state(tx: Any) -> Any:
    """Read all there is, but for the times, which are of two clocks."""
    fences = tx.lock_fences("payment", SAGAS)
    tx.save_fences("payment", [], sorted(set(SAGAS) - set(fences)))
    due = tx.peek_due_calls(every_lane(100), -10 * HOUR_MS)
    timers = sorted(row._replace(since_ms=0, due_ms=0) for row in due)
    outbox = [messages for _, messages in tx.stale_outbox(0, 1000)]
    pages = [_timeless(tx.payment_page(saga_id(1), 3, which)) for which in ("", "unknown", "owed")]
    pages.append(_timeless(tx.payment_page(saga_id(2), 1)))
    sums = [each._replace(since_ms=0) for each in tx.open_money()]
    return fences, tx.load_payments(SAGAS), timers, outbox, pages, sums


def _timeless(rows: Sequence[PaymentRow]) -> list[PaymentRow]:
    return [row._replace(since_ms=0, due_ms=0) for row in rows]


def _page(tx: Any, which: str) -> list[str]:
    return [row.payment.saga_id for row in tx.payment_page(saga_id(0), 9, which)]


def test_what_is_silent_for_a_minute_is_unknown_and_what_is_new_is_not(store_pair: StorePair) -> None:
    ages_ms = {1: 30_000, 2: 90_000}

    def write(tx: Any) -> Any:
        sagas = [saga_id(n) for n in ages_ms]
        tx.insert_payments([Payment(saga, "ada", "pm_card_visa", 300, "GBP") for saga in sagas])
        tx.lock_fences("payment", sagas)
        tx.save_fences("payment", [Fence(s, FenceState.RUNNING, submitted=True) for s in sagas], ())
        now_ms = tx.now_ms()
        rows = [resolve_timer(saga_id(n), "do", now_ms - age) for n, age in ages_ms.items()]
        tx.set_timers(rows)

    store_pair.transact(write)
    for which, found in (("unknown", [saga_id(2)]), ("owed", []), ("", [saga_id(1), saga_id(2)])):
        page = store_pair.transact(partial(_page, which=which))
        assert page == found
    [open_money] = store_pair.transact(lambda tx: [each._replace(since_ms=0) for each in tx.open_money()])
    assert open_money == OpenMoney("unknown", "GBP", 1, 300, 0)


def test_a_hint_makes_a_waiting_call_due_but_not_one_under_way(store_pair: StorePair) -> None:
    def write(tx: Any) -> Any:
        later = [resolve_timer(saga_id(n), "do", tx.now_ms() + HOUR_MS) for n in (1, 2, 3)]
        later[1] = later[1]._replace(end_offset=tx.now_ms() + HOUR_MS)
        tx.set_timers(later)

    store_pair.transact(write)
    assert store_pair.transact(lambda tx: tx.hint_calls([saga_id(1), saga_id(2), saga_id(9)])) == 1

    def due(tx: Any) -> list[str]:
        return [row.key.saga_id for row in tx.peek_due_calls(every_lane(9), HORIZON_MS)]

    assert store_pair.transact(due) == [saga_id(1)]
    assert store_pair.transact(lambda tx: tx.hint_calls([saga_id(1)])) == 0, "it is due already"


def test_calls_are_due_by_their_time_and_beyond_the_horizon(store_pair: StorePair) -> None:
    rows = [
        TimerRow(TimerKey(saga_id(n), "payment", "do"), RESOLVE, 0, 0, START_MS + hours * HOUR_MS)
        for n, hours in enumerate([-1, -3, 1, 24, -2])
    ]
    assert HORIZON_MS < 24 * HOUR_MS
    store_pair.transact(lambda tx: tx.set_timers(rows))
    due = store_pair.transact(lambda tx: tx.peek_due_calls(every_lane(10), HORIZON_MS))
    assert [row.key.saga_id for row in due] == [saga_id(n) for n in (1, 4, 0, 3)]
    assert store_pair.transact(lambda tx: tx.peek_due_calls(every_lane(2), HORIZON_MS)) == due[:2]


def test_each_lane_has_a_limit_of_its_own_and_says_which_come_first(store_pair: StorePair) -> None:
    def write(tx: Any) -> Any:
        first = [resolve_timer(saga_id(n), "do", START_MS - n) for n in range(1, 4)]
        failed = [
            resolve_timer(saga_id(n), "do", START_MS - n * 1_000)._replace(fired=n) for n in range(4, 8)
        ]
        refunds = [resolve_timer(saga_id(n), "undo", START_MS) for n in range(1, 3)]
        tx.set_timers([*first, *failed, *refunds])

    def peek(*limits: ClaimLimit) -> list[tuple[str, str]]:
        rows = store_pair.transact(lambda tx: tx.peek_due_calls(limits, HORIZON_MS))
        return [(row.key.saga_id, row.key.verb) for row in rows]

    store_pair.transact(write)
    assert peek(ClaimLimit("do", True, 2)) == [(saga_id(3), "do"), (saga_id(2), "do")]
    assert peek(ClaimLimit("do", True, 2, newest_first=True)) == [(saga_id(1), "do"), (saga_id(2), "do")]
    assert peek(ClaimLimit("do", False, 1), ClaimLimit("undo", True, 9), ClaimLimit("undo", False, 9)) == [
        (saga_id(4), "do"),
        (saga_id(1), "undo"),
        (saga_id(2), "undo"),
    ]


def test_a_second_payment_of_one_saga_is_refused_by_both(store_pair: StorePair) -> None:
    payment = Payment(saga_id(1), "ada", "pm_card_visa", 300, "GBP")
    assert store_pair.transact(lambda tx: tx.insert_payments([payment])) is None
    assert store_pair.transact(lambda tx: tx.insert_payments([payment])) == "refused"


def test_a_row_says_since_when_it_was_submitted(store_pair: StorePair) -> None:
    fence = Fence(saga_id(1), FenceState.RUNNING)

    def work(tx: Any) -> Any:
        tx.lock_fences("payment", [fence.saga_id])
        tx.save_fences("payment", [fence._replace(submitted=True)], ())
        return None

    store_pair.transact(work)
    [(first,)] = store_pair.select("select submitted_at from fence")
    store_pair.transact(work)
    assert store_pair.select("select submitted_at from fence") == [(first,)]
