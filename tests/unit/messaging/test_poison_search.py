"""A failing message is found by halving; one that kills the process is found by counting starts."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.samples import saga_id
from tests.unit.messaging.kernel_harness import KernelHarness

from holdfast.bus.port import TopicPartition
from holdfast.contracts.topics import EVENTS, INVENTORY_COMMANDS
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.poison import ONE_BY_ONE_FROM, PARKED_FROM, RecordBatch
from holdfast.messaging.store import StoreUnavailable


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Rendering hundreds of tracebacks would take minutes."""
    with capture_logs():
        yield


def lane(world: KernelHarness, topic: str, partition: int) -> list[str]:
    """Return the saga ids on a partition, in their order."""
    return [(record.key or b"").decode() for record in world.bus.state.log[TopicPartition(topic, partition)]]


def publish_all(world: KernelHarness) -> None:
    while world.relay.run_once(0):
        pass


def assert_all_but(world: KernelHarness, culprits: set[str], count: int) -> None:
    """Every good message was processed once, in its partition's order; each failing one is parked."""
    everybody = {saga_id(n) for n in range(count)}
    assert world.rows("seen") == dict.fromkeys(everybody - culprits, 1)
    assert {row.saga_id for row in world.rows("parked").values()} == culprits
    publish_all(world)
    for partition in range(4):
        commands = [saga for saga in lane(world, INVENTORY_COMMANDS, partition) if saga not in culprits]
        assert lane(world, EVENTS, partition) == commands
    assert world.committed() == count


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 500])
@pytest.mark.parametrize("where", [0.0, 0.4, 1.0])
def test_one_failing_message_costs_twice_the_logarithm_of_the_batch(count: int, where: float) -> None:
    world = KernelHarness()
    culprit = int(where * (count - 1))
    world.handler.bugs = {saga_id(culprit)}
    world.send(*range(count))
    assert world.manager.run_once(0) == count
    assert len(world.handler.batches) <= 1 + 2 * (count - 1).bit_length()
    assert_all_but(world, {saga_id(culprit)}, count)


@settings(max_examples=30)
@given(st.sets(st.integers(0, 39), max_size=40))
def test_any_number_of_failing_messages_is_found_and_no_others(culprits: set[int]) -> None:
    world = KernelHarness()
    world.handler.bugs = {saga_id(n) for n in culprits}
    world.send(*range(40))
    assert world.manager.run_once(0) == 40
    assert len(world.handler.batches) <= 2 * 40 - 1
    assert_all_but(world, world.handler.bugs, 40)


def test_a_parked_message_says_how_often_it_was_tried() -> None:
    world = KernelHarness()
    world.handler.bugs = {saga_id(0)}
    world.send(*range(8))
    world.manager.run_once(0)
    [row] = world.rows("parked").values()
    assert row.attempts == 4, "with eight, four, two and alone"


def test_good_halves_are_committed_as_batches() -> None:
    world = KernelHarness()
    world.handler.bugs = {saga_id(0)}
    world.send(0)
    world.manager.run_once(0)
    world.send(*range(1, 64), 0)
    world.handler.batches.clear()
    world.manager.run_once(0)
    assert max(world.handler.batches[1:]) == 32
    assert world.manager.counters.batches < 1 + 2 * 7


def test_what_another_owns_by_now_is_dropped_in_the_middle_of_a_search() -> None:
    world = KernelHarness()
    world.send(*range(16))
    world.manager.run_once(0)
    places = [TopicPartition(INVENTORY_COMMANDS, n) for n in range(4)]
    ends = {place: len(world.bus.state.log[place]) for place in places}
    world.handler.bugs = {saga_id(n) for n in range(16)}
    world.send(*range(16))
    stolen = max(places, key=lambda place: ends[place])
    commit = world.manager.consumer.commit

    def overtaken(offsets: Any) -> None:
        if stolen in offsets:
            row = world.bus.state.leases["inventory-write", stolen]
            world.bus.state.leases["inventory-write", stolen] = row._replace(
                owner="other", epoch=row.epoch + 1, expires_at=9e12
            )
        commit(offsets)

    world.manager.consumer.commit = overtaken  # type: ignore[method-assign]
    world.manager.run_once(0)
    assert world.manager.counters.fenced_commits == 1
    parked = [place for place in world.rows("parked") if place.partition == stolen.partition]
    assert len(parked) == 1 < ends[stolen], "the first of that partition, and nothing after it"
    assert len(world.rows("parked")) == 1 + 16 - ends[stolen]


def test_halves_keep_everything_in_order() -> None:
    lot = RecordBatch(list(range(5)), 2)  # type: ignore[arg-type]
    first, second = lot.bisect()
    assert [*first.records, *second.records] == lot.records
    assert (first.failures, second.failures) == (3, 3)


# -- what kills the process


class Killed(BaseException):
    """The process has died: no code catches this, and nothing is cleaned up."""


class Mortal:
    """A service whose process dies of some sagas; each life is a new manager, once the old leases ran out."""

    def __init__(self, *killers: int) -> None:
        self.world = KernelHarness()
        self.killers = {saga_id(n) for n in killers}
        self.deaths = 0
        self._handle = self.world.handler.handle
        self.world.handler.handle = self.handle  # type: ignore[method-assign]

    def handle(self, tx: MemoryTransaction, envelopes: Sequence[Envelope]) -> HandlerResult:
        if self.killers & {envelope.saga_id for envelope in envelopes}:
            self.world.handler.batches.append(len(envelopes))
            raise Killed
        return self._handle(tx, envelopes)

    def life(self) -> KafkaConsumerManager[MemoryTransaction]:
        self.world.clock.now_ms += 60_000
        return self.world.new_manager()

    def live(self, lives_max: int = 40) -> None:
        """Live until everything is consumed."""
        for _ in range(lives_max):
            manager = self.life()
            try:
                while manager.run_once(0):
                    pass
            except Killed:
                self.deaths += 1
            else:
                return
        raise AssertionError(f"still dying after {lives_max} lives")


def test_line_29_the_message_that_kills_the_process_is_parked_at_the_fifth_start() -> None:
    mortal = Mortal(1)
    mortal.world.send(1)
    mortal.live()
    assert mortal.deaths == PARKED_FROM - 1
    [row] = mortal.world.rows("parked").values()
    assert (row.reason, row.attempts, row.saga_id) == ("kills_the_process", 4, saga_id(1))
    [letter] = mortal.world.processor.store.tables.tables["outbox"].values()  # type: ignore[attr-defined]
    assert dict(letter[1][0].headers)["x-error-type"] == b"kills_the_process"


def test_line_29_the_third_start_goes_message_by_message() -> None:
    mortal = Mortal(1)
    mortal.world.send(*range(2, 30), 1)
    sizes = []
    for _ in range(ONE_BY_ONE_FROM):
        mortal.world.handler.batches.clear()
        with pytest.raises(Killed):
            mortal.life().run_once(0)
        sizes.append(max(mortal.world.handler.batches))
    assert sizes[:2] == [29, 29]
    assert sizes[2] == 1
    assert len(mortal.world.rows("seen")) >= 1, "those before it have moved on"


@pytest.mark.parametrize("killers", [(5,), (0, 39), (3, 4, 5), (10, 20, 30)])
def test_messages_that_kill_the_process_are_parked_and_no_others(killers: tuple[int, ...]) -> None:
    mortal = Mortal(*killers)
    mortal.world.send(*range(40))
    mortal.live()
    assert_all_but(mortal.world, mortal.killers, 40)


def test_restarts_without_records_suspect_no_message() -> None:
    mortal = Mortal()
    for _ in range(2 * PARKED_FROM):
        mortal.life().run_once(0)
    mortal.world.send(1, 2)
    mortal.live()
    assert not mortal.world.rows("parked")
    assert not mortal.world.rows("starts")


def test_starts_that_made_progress_suspect_no_message_even_if_offsets_go_back() -> None:
    mortal = Mortal()
    mortal.world.send(1)
    for _ in range(2 * PARKED_FROM):
        manager = mortal.life()
        assert manager.run_once(0) == 1
        leases = mortal.world.bus.state.leases
        for key, row in leases.items():
            leases[key] = row._replace(committed=0)
    assert not mortal.world.rows("parked")


def test_a_transient_failure_that_a_process_survives_suspects_no_message() -> None:
    mortal = Mortal()
    mortal.world.send(1)
    for _ in range(2 * PARKED_FROM):
        mortal.world.handler.unavailable = 1
        manager = mortal.life()
        assert manager.run_once(0) == 0
        manager.close()
    mortal.live()
    assert not mortal.world.rows("parked")


def test_counting_costs_one_transaction_an_assignment_not_a_batch() -> None:
    world = KernelHarness()
    opened = 0
    transaction = world.store.transaction

    def counted() -> Any:
        nonlocal opened
        opened += 1
        return transaction()

    world.store.transaction = counted  # type: ignore[method-assign]
    world.send(*range(40))
    world.manager.run_once(0)
    assert opened == 3, "count, the batch, take back"
    for _ in range(5):
        world.send(*range(40))
        world.manager.run_once(0)
    assert opened == 8


def test_a_transient_failure_while_counting_is_waited_out() -> None:
    world = KernelHarness()
    world.send(1)
    world.manager.run_once(0)
    manager = Mortal().life()
    transaction = world.store.transaction

    def down() -> Any:
        raise StoreUnavailable("as scripted")

    world.send(2)
    world.clock.now_ms += 60_000
    manager = world.new_manager()
    world.store.transaction = down  # type: ignore[method-assign]
    assert manager.run_once(0) == 0
    assert manager.failures_in_a_row == 1
    world.store.transaction = transaction  # type: ignore[method-assign]
    assert manager.run_once(0) == 1
    assert world.rows("seen") == {saga_id(1): 1, saga_id(2): 1}
