"""What operators look for in sagas: both stores find the same, whatever was written before."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.stores.batches import Command, envelopes
from tests.integration.stores.store_pairs import StorePair, sequences
from tests.integration.stores.test_saga_stores import PAYLOADS
from tests.samples import saga_id

from holdfast.messaging.store import OperatorAction
from holdfast.messaging.timers import DEADLINE, FiredTimer, TimerSettings
from holdfast.saga.state import CANCELLATION_REQUESTED
from holdfast.sagas.checkout import CHECKOUT
from holdfast.services.checkout_orchestrator.checkout_service import CheckoutService
from holdfast.services.checkout_orchestrator.memory_store import MemorySagaTransaction
from holdfast.services.checkout_orchestrator.operator_actions import OperatorActions
from holdfast.services.checkout_orchestrator.store import PostgresSagaTransaction
from holdfast.services.checkout_orchestrator.store_port import SagaFilter

SAGAS = [saga_id(n) for n in range(1, 7)]
HAPPY = ["CheckoutInitiated", "InventoryReserved", "PaymentProcessed", "OrderCreated", "CartCleared"]
STORIES = st.lists(
    st.tuples(
        st.integers(0, len(HAPPY)),
        st.sampled_from(["", "PaymentFailed", CANCELLATION_REQUESTED, "InventoryReserved"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)
"""How far each saga goes, what it hears then, and whether its undos become overdue."""

STATES = [*CHECKOUT.pending_index, "COMPENSATING", "COMPLETED", "FAILED"]
WISHES = st.builds(
    SagaFilter,
    from_id=st.sampled_from([saga_id(0), *SAGAS]),
    before_id=st.sampled_from([*SAGAS, saga_id(99)]),
    states=st.lists(st.sampled_from(STATES), max_size=2).map(tuple),
    reason=st.sampled_from(["", "no", "canceled"]),
    stalled=st.booleans(),
    only_open=st.booleans(),
)


@pytest.fixture
def store_pair(database: str) -> Iterator[StorePair]:
    package = "holdfast.services.checkout_orchestrator"
    store_pair = StorePair(database, package, PostgresSagaTransaction, MemorySagaTransaction)
    yield store_pair
    store_pair.close()


@sequences
@given(
    stories=STORIES,
    wishes=st.lists(WISHES, min_size=1, max_size=4),
    limit=st.integers(1, 7),
    partitions=st.sets(st.integers(0, 3)),
)
def test_both_find_the_same(
    store_pair: StorePair, stories: list[Any], wishes: list[SagaFilter], limit: int, partitions: set[int]
) -> None:
    store_pair.reset()
    service = CheckoutService({1: CHECKOUT}, 4, TimerSettings())
    for n, (reached, then, overdue) in enumerate(stories, 1):
        store_pair.transact(partial(_tell, service, n=n, reached=reached, then=then, overdue=overdue))
    for wanted in wishes:
        store_pair.transact(lambda tx, w=wanted: _find(tx, w, limit))  # type: ignore[misc]
    store_pair.transact(lambda tx: [row._replace(oldest_ms=0) for row in tx.count_open(partitions)])
    store_pair.transact(_look)


def _tell(
    service: CheckoutService, tx: Any, *, n: int, reached: int, then: str = "", overdue: bool = False
) -> None:
    kinds = [*HAPPY[:reached], *([then] if then else [])]
    if kinds:
        service.handle(tx, envelopes([Command(n, kind, PAYLOADS[kind]) for kind in kinds], "event"))
    if overdue:
        rows = [row for row in tx.read_timers(saga_id(n)) if row.key.verb == "undo"]
        handled = service.fire(tx, [FiredTimer(row, True, end_offset=5) for row in rows])
        tx.set_timers(handled.fired)


def _find(tx: Any, wanted: SagaFilter, limit: int) -> Any:
    found = [tx.saga_ids(wanted, limit, newest_first=newest) for newest in (True, False)]
    return found, tx.matching_sagas(wanted, SAGAS)


def _look(tx: Any) -> Any:
    ignored = [[row._replace(first_ms=0, last_ms=0) for row in tx.read_ignored(saga)] for saga in SAGAS]
    timers = [[row._replace(since_ms=0, due_ms=0) for row in tx.read_timers(saga)] for saga in SAGAS]
    locked = [[row._replace(since_ms=0, due_ms=0) for row in tx.lock_timers(saga)] for saga in SAGAS]
    assert locked == timers
    assert all(row.kind == DEADLINE for rows in timers for row in rows)
    return ignored, timers


@pytest.mark.parametrize("act", ["cancel", "resume"])
@pytest.mark.parametrize("reached", range(6))
def test_an_operators_act_is_the_same_in_both_and_stands_in_the_log(
    store_pair: StorePair, act: str, reached: int
) -> None:
    service = CheckoutService({1: CHECKOUT}, 4, TimerSettings())
    store_pair.transact(lambda tx: _tell(service, tx, n=1, reached=reached))

    def work(tx: Any) -> Any:
        handled, outcome = getattr(OperatorActions(service), act)(tx, saga_id(1), "olga", "b\u00fccause")
        tx.set_timers(handled.fired)
        return handled.messages_to_seal, outcome.did, outcome.sent

    for _ in range(2):
        store_pair.transact(work)
        store_pair.transact(lambda tx: [a._replace(at_ms=0) for a in tx.read_actions(saga_id(1))])
    store_pair.transact(_look)
    actions = [action for _, action in store_pair.rows("operator_actions")]
    times = {"cancel": int(reached in (1, 2, 3)), "resume": 2 * int(0 < reached < 5)}[act]
    assert actions == [OperatorAction("olga", f"{act}_saga", saga_id(1), "b\u00fccause")] * times


def test_a_shoppers_cancellation_is_the_same_in_both_also_before_the_start(store_pair: StorePair) -> None:
    service = CheckoutService({1: CHECKOUT}, 4, TimerSettings())
    store_pair.transact(lambda tx: _tell(service, tx, n=1, reached=2))

    def work(tx: Any, n: int, user: str) -> Any:
        handled, outcome = OperatorActions(service).cancel_for_shopper(tx, saga_id(n), user)
        return handled.messages_to_seal, outcome.did, outcome.sent

    for n, user in ((1, "eve"), (1, "ada"), (1, "ada"), (2, "ada"), (2, "eve")):
        store_pair.transact(partial(work, n=n, user=user))
    assert store_pair.select("select state from saga order by saga_id") == [("COMPENSATING",), ("FAILED",)]
