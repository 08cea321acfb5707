"""checkout-orchestrator: random events and deadlines on both stores end in the same sagas and histories."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.stores.batches import Command, envelopes
from tests.integration.stores.store_pairs import HOUR_MS, START_MS, StorePair, sequences
from tests.samples import SAMPLES, saga_id

from holdfast.contracts.messages import Refused
from holdfast.messaging.store import PrunePage
from holdfast.messaging.timers import DEADLINE, FiredTimer, TimerSettings
from holdfast.saga.state import CANCELLATION_REQUESTED, SagaInstance
from holdfast.sagas.checkout import CHECKOUT
from holdfast.services.checkout_orchestrator.checkout_service import CheckoutService
from holdfast.services.checkout_orchestrator.memory_store import MemorySagaTransaction
from holdfast.services.checkout_orchestrator.store import PostgresSagaTransaction
from holdfast.services.checkout_orchestrator.store_port import IgnoredRow

SAGAS = [saga_id(n) for n in range(1, 4)]


@pytest.fixture
def store_pair(database: str) -> Iterator[StorePair]:
    package = "holdfast.services.checkout_orchestrator"
    store_pair = StorePair(database, package, PostgresSagaTransaction, MemorySagaTransaction)
    yield store_pair
    store_pair.close()


AHEAD = ["CheckoutInitiated", "InventoryReserved", "PaymentProcessed", "OrderCreated", "CartCleared"]
KINDS = [*AHEAD, *AHEAD, *CHECKOUT.event_kinds, "OutcomeRequested", CANCELLATION_REQUESTED]
PAYLOADS = SAMPLES | {CANCELLATION_REQUESTED: Refused("canceled", "ünwanted")}
EVENTS = st.builds(
    lambda n, kind: Command(n, kind, PAYLOADS[kind]), st.integers(1, 3), st.sampled_from(KINDS)
)
BATCHES = st.lists(EVENTS, min_size=1, max_size=8)
PAGES = st.builds(
    PrunePage,
    st.sampled_from(SAGAS),
    st.integers(2, 5).map(saga_id),
    st.sampled_from([-HOUR_MS, HOUR_MS]).map(lambda age: START_MS + age),
    st.integers(1, 3),
).map(lambda page: [page])
FIRINGS = st.tuples(st.booleans(), st.booleans()).map(list)
"""Whether what fires is overdue, and whether the transaction is rolled back."""


@sequences
@given(rounds=st.lists(BATCHES | FIRINGS | PAGES, max_size=10))
def test_sagas_and_histories_read_the_same(store_pair: StorePair, rounds: list[list[Any]]) -> None:
    store_pair.reset()
    service = CheckoutService({1: CHECKOUT}, 4, TimerSettings())
    for items in rounds:
        if isinstance(items[0], Command):
            heard = envelopes(items, "event")
            work = lambda tx, heard=heard: _answers(service.handle(tx, heard))  # noqa: E731
            store_pair.transact(work)
        elif isinstance(items[0], PrunePage):
            store_pair.transact(lambda tx, page=items[0]: tx.prune_sagas(CHECKOUT.terminal, page))  # type: ignore[misc]
        else:
            overdue, roll_back = items
            store_pair.transact(lambda tx, o=overdue: _fire(service, tx, o), commit=not roll_back)  # type: ignore[misc]
        store_pair.transact(_state)
    ignored = store_pair.select(
        "select saga_id::text, event_id, kind, reason, times from saga_ignored order by 1, 2"
    )
    assert [(IgnoredRow(*row[:4]), row[4]) for row in ignored] == store_pair.rows("saga_ignored")
    assert store_pair.select("select 1 from saga where state = 'NEW'") == []
    events = store_pair.select("select saga_id::text, event_id from saga_event order by 1, 2")
    assert events == sorted(store_pair.memory.tables.tables.get("saga_event_id", {}))


def _fire(service: CheckoutService, tx: Any, overdue: bool) -> Any:
    """Fire every deadline there is; those fired again are written as the unit of work does it."""
    rows = sorted(tx.due_timers(DEADLINE, range(4), -10 * HOUR_MS, 100))
    handled = service.fire(tx, [FiredTimer(row, overdue, end_offset=5) for row in rows])
    tx.set_timers([row._replace(outbox_id=9) for row in handled.fired])
    return _answers(handled)


def _answers(handled: Any) -> Any:
    return handled.messages_to_seal, handled.parked


def _state(tx: Any) -> Any:
    """Read all there is, but for the times, which are of two clocks."""
    sagas = [_timeless(tx.read_saga(saga)) for saga in SAGAS]
    histories = [[row._replace(at_ms=0) for row in tx.read_history(saga)] for saga in SAGAS]
    timers = sorted(
        row._replace(since_ms=0, due_ms=0) for row in tx.due_timers(DEADLINE, range(4), -10 * HOUR_MS, 100)
    )
    pairs = [(saga, f"{saga}:event:{kind}") for saga in SAGAS for kind in KINDS]
    locked = tx.lock_sagas(SAGAS, ())
    assert {saga: _timeless(row) for saga, row in locked.items()} == {
        row.saga_id: row for row in sagas if row is not None
    }
    return sagas, histories, timers, tx.processed_event_ids(pairs)


def _timeless(saga: SagaInstance | None) -> SagaInstance | None:
    if saga is None:
        return None
    times = {name: int(getattr(saga, name) > 0) for name in ("started_ms", "ended_ms", "stalled_ms")}
    return saga._replace(**times)  # type: ignore[arg-type]


def test_an_older_version_is_refused_by_both_as_trouble(store_pair: StorePair) -> None:
    service = CheckoutService({1: CHECKOUT}, 4, TimerSettings())
    started = envelopes([Command(1, "CheckoutInitiated", SAMPLES["CheckoutInitiated"])], "event")
    store_pair.transact(lambda tx: _answers(service.handle(tx, started)))

    def late(tx: Any) -> None:
        saga = tx.read_saga(saga_id(1))
        tx.save_sagas([saga], ())

    assert store_pair.transact(late) == "unavailable"
