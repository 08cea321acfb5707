"""A wish that reaches an instance which does not own the saga: its row decides, and one of two wins."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from tests.integration.stores.batches import Command, envelopes
from tests.integration.stores.store_pairs import StorePair
from tests.memory_platform import MemoryPlatform
from tests.samples import SAMPLES, saga_id

from holdfast.bus.port import Message
from holdfast.contracts.steps import PATIENCE_OF_STEP_MS
from holdfast.contracts.topics import ORCHESTRATOR, PARTITIONS_EMBEDDED
from holdfast.messaging.batch_processor import BatchProcessor
from holdfast.messaging.components import Ports
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.memory_store import MemoryStore
from holdfast.messaging.timers import FiredTimer, TimerSettings
from holdfast.sagas.checkout import CHECKOUT
from holdfast.services.checkout_orchestrator import main as checkout_orchestrator
from holdfast.services.checkout_orchestrator.checkout_service import CheckoutService
from holdfast.services.checkout_orchestrator.memory_store import MemorySagaTransaction
from holdfast.services.checkout_orchestrator.operator_actions import ActionOutcome, OperatorActions
from holdfast.services.checkout_orchestrator.store import PostgresSagaTransaction

SAGAS = 30
WAIT_S = 60
FORWARD = ("CheckoutInitiated", "InventoryReserved", "PaymentProcessed")
PIECES = (("A", 2),)


@pytest.fixture
def store_pair(database: str) -> Iterator[StorePair]:
    package = "holdfast.services.checkout_orchestrator"
    store_pair = StorePair(database, package, PostgresSagaTransaction, MemorySagaTransaction, size=2)
    yield store_pair
    store_pair.close()


class Instance:
    """One orchestrator of two on the same database."""

    def __init__(self, store_pair: StorePair) -> None:
        self.service = CheckoutService({1: CHECKOUT}, 4, TimerSettings())
        self.operations = OperatorActions(self.service)
        self.processor = BatchProcessor("checkout-orchestrator", store_pair.postgres, self.service)

    def hear(self, n: int, *kinds: str) -> list[str]:
        events = envelopes([Command(n, kind, SAMPLES[kind]) for kind in kinds], "event")
        return _kinds(self.processor.commit(lambda tx: self.service.handle(tx, events)).messages)

    def cancel(self, n: int) -> tuple[list[str], ActionOutcome]:
        return self._act(lambda tx: self.operations.cancel_for_shopper(tx, saga_id(n), "ada"))

    def resume(self, n: int) -> tuple[list[str], ActionOutcome]:
        return self._act(lambda tx: self.operations.resume(tx, saga_id(n), "olga", "now"))

    def fire(self, n: int) -> list[str]:
        """Fire the saga's deadlines as the task does: its timers are locked first."""

        def work(tx: Any) -> HandlerResult:
            rows = tx.lock_timers(saga_id(n))
            return self.service.fire(tx, [FiredTimer(row, overdue=False, end_offset=0) for row in rows])

        return _kinds(self.processor.commit(work).messages)

    def _act(self, act: Callable[[Any], Any]) -> tuple[list[str], ActionOutcome]:
        did: list[ActionOutcome] = []

        def work(tx: Any) -> HandlerResult:
            handled, outcome = act(tx)
            did.append(outcome.did)
            assert isinstance(handled, HandlerResult)
            return handled

        return _kinds(self.processor.commit(work).messages), did[-1]


def _kinds(messages: list[Message]) -> list[str]:
    return [dict(message.headers)["ce_type"].decode() for message in messages]


def _race(one: Callable[[], Any], other: Callable[[], Any]) -> tuple[Any, Any]:
    barrier = Barrier(2)

    def run(work: Callable[[], Any]) -> Any:
        barrier.wait(WAIT_S)
        return work()

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(run, work) for work in (one, other)]
        return futures[0].result(WAIT_S), futures[1].result(WAIT_S)


def test_the_pivot_and_a_cancellation_at_the_same_moment_never_both_happen(store_pair: StorePair) -> None:
    owner, other = Instance(store_pair), Instance(store_pair)
    for n in range(1, SAGAS + 1):
        owner.hear(n, *FORWARD)
        sent, (undone, did) = _race(lambda n=n: owner.hear(n, "OrderCreated"), lambda n=n: other.cancel(n))  # type: ignore[misc]
        if did is ActionOutcome.DONE:
            assert (sent, undone) == ([], ["CompensateOrder", "CompensatePayment", "CompensateInventory"])
        else:
            assert (sent, undone, did) == (["ClearCart"], [], ActionOutcome.PAST_THE_PIVOT)
    histories = store_pair.select("select saga_id, array_agg(seq order by seq) from saga_event group by 1")
    assert [seqs for _, seqs in histories] == [[1, 2, 3, 4]] * SAGAS


def test_a_cancellation_and_the_start_at_the_same_moment_leave_one_saga(store_pair: StorePair) -> None:
    owner, other = Instance(store_pair), Instance(store_pair)
    for n in range(1, SAGAS + 1):
        sent, (undone, did) = _race(
            lambda n=n: owner.hear(n, "CheckoutInitiated"),  # type: ignore[misc]
            lambda n=n: other.cancel(n),  # type: ignore[misc]
        )
        assert did is ActionOutcome.DONE
        if undone == ["CheckoutFailed"]:
            assert sent in ([], ["CheckoutFailed"]), "the late start earns the end again, nothing else"
        else:
            assert (sent, undone) == (["ReserveInventory"], ["CompensateInventory"])


def test_a_deadline_and_a_resumption_at_the_same_moment_are_two_firings(store_pair: StorePair) -> None:
    owner, other = Instance(store_pair), Instance(store_pair)
    for n in range(1, SAGAS + 1):
        owner.hear(n, *FORWARD)
        sent, (again, did) = _race(lambda n=n: owner.fire(n), lambda n=n: other.resume(n))  # type: ignore[misc]
        assert (sent, again, did) == (["CreateOrder"], ["CreateOrder"], ActionOutcome.DONE)
    fired = store_pair.select("select fired from timers")
    assert fired == [(2,)] * SAGAS


@pytest.mark.parametrize("reached", range(4))
@pytest.mark.parametrize("its_relay_is_late", [False, True])
def test_cancelled_through_the_instance_that_owns_nothing_the_books_balance(
    reached: int, its_relay_is_late: bool
) -> None:
    """The undo may overtake the command that the owner has not published yet, or come long after it."""
    platform, saga = MemoryPlatform({"A": 10}), saga_id(1)
    platform.put_cart(f"cart-{saga}", PIECES)
    platform.initiate(saga, PIECES)
    store: MemoryStore[Any] = platform.sagas
    ports = Ports[Any](
        store, platform.bus.of(ORCHESTRATOR), lambda: platform.now_ms, "other", PARTITIONS_EMBEDDED
    )
    other = checkout_orchestrator.build(ports, TimerSettings(patience_of_step_ms=PATIENCE_OF_STEP_MS))
    orchestrator, payment, inventory, order, cart = platform.parts
    orchestrator.manager.run_once(0)
    for parts in (inventory, payment, order, cart)[:reached]:
        orchestrator.relay.run_once(0)
        parts.manager.run_once(0)
        if parts is payment:
            platform.payment.charge_loop.run_once()
        parts.relay.run_once(0)
        orchestrator.manager.run_once(0)
    operations = OperatorActions(other.checkout_service)
    future = other.manager.submit(lambda tx: operations.cancel_for_shopper(tx, saga, "ada"))
    other.manager.run_once(0)
    assert other.manager.partitions() == frozenset()
    assert future.result(0).did is (ActionOutcome.DONE if reached < 3 else ActionOutcome.PAST_THE_PIVOT)
    if its_relay_is_late:
        platform.settle()
    while other.relay.run_once(0):
        pass
    platform.settle()
    if reached < 3:
        assert (platform.state(saga), platform.stock("A")) == ("FAILED", (10, 0, 0))
        assert platform.provider.charges == platform.provider.refunds
    else:
        assert (platform.state(saga), platform.stock("A")) == ("COMPLETED", (8, 0, 2))
