"""The relay: publishes in order, deletes nothing before the bus has it, waits for no refused row."""

from collections.abc import Sequence
from threading import Thread

import pytest
from tests.unit.messaging.kernel_harness import (
    UNDELIVERED,
    UNREACHABLE,
    KernelHarness,
    ScriptedPublisher,
    _Publishing,
    command,
)

from holdfast.bus.port import Message, PublishFailed
from holdfast.contracts.topics import EVENTS, INVENTORY_COMMANDS
from holdfast.messaging.batch_processor import Committed
from holdfast.messaging.breaker import Breaker
from holdfast.messaging.producer import ProducerManager
from holdfast.messaging.relay import PUBLISH_MESSAGES_MAX, RETRY_CAP_MS


@pytest.fixture
def world() -> KernelHarness:
    return KernelHarness()


def row(row_id: int, *numbers: int) -> tuple[int, list[Message]]:
    """Return an outbox row with the commands of these sagas."""
    return row_id, [command(n) for n in numbers]


def sent(world: KernelHarness) -> list[Message]:
    """Return all that was handed to the publisher, in order."""
    return [message for batch in world.publisher.batches for message in batch]


def test_rows_leave_in_the_order_of_their_commits_as_one_batch(world: KernelHarness) -> None:
    world.relay.submit(Committed(1, [command(1), command(2)]))
    world.relay.submit(Committed(2, [command(1)]))
    assert world.relay.run_once(0)
    assert world.publisher.batches == [[command(1), command(2), command(1)]]
    assert world.relay.take_published() == [1, 2]
    assert world.relay.is_idle()


def test_a_commit_that_appended_nothing_is_not_queued(world: KernelHarness) -> None:
    world.relay.submit(Committed(0, []))
    assert world.relay.waiting() == 0
    assert not world.relay.run_once(0)


def test_no_row_counts_as_published_before_the_bus_has_it(world: KernelHarness) -> None:
    world.publisher.errors = [UNREACHABLE]
    world.relay.submit_rows([row(1, 1)])
    assert not world.relay.has_published()
    assert not world.relay.run_once(0)
    assert not world.relay.has_published()
    assert world.relay.waiting() == 1
    assert world.relay.run_once(0)
    assert world.relay.take_published() == [1]


@pytest.mark.parametrize("error", [UNREACHABLE, UNDELIVERED], ids=["unreachable", "undelivered"])
def test_after_a_failure_the_whole_batch_stays_first_in_the_queue(
    world: KernelHarness, error: Exception
) -> None:
    world.publisher.errors = [error]
    world.relay.submit_rows([row(1, 1, 2), row(2, 3)])
    assert not world.relay.run_once(0)
    world.relay.submit_rows([row(3, 1)])
    assert world.relay.run_once(0)
    assert world.publisher.batches[1] == [command(1), command(2), command(3), command(1)]
    assert world.relay.take_published() == [1, 2, 3]


def test_failures_in_a_row_ask_for_growing_rest_and_a_success_for_none(world: KernelHarness) -> None:
    world.publisher.errors = [UNREACHABLE] * 12
    world.relay.submit_rows([row(1, 1)])
    assert world.relay.retry_after_ms() == 0
    rests = []
    for _ in range(12):
        world.relay.run_once(0)
        rests.append(world.relay.retry_after_ms())
    assert 50 <= rests[0] <= 100
    assert rests[0] < rests[2] < rests[5]
    assert all(RETRY_CAP_MS / 2 <= rest <= RETRY_CAP_MS for rest in rests[8:])
    assert world.relay.run_once(0)
    assert world.relay.retry_after_ms() == 0


def test_a_refused_row_is_passed_by_all_others_and_costs_no_rest(world: KernelHarness) -> None:
    world.publisher.refused_topics = {EVENTS}
    refused = command(2)._replace(topic=EVENTS)
    world.relay.submit_rows([row(1, 1), (2, [refused, command(2)]), row(3, 3)])
    assert world.relay.run_once(0)
    assert world.relay.take_published() == [1, 3]
    assert world.relay.retry_after_ms() == 0
    assert [r.key for r in world.on_topic(INVENTORY_COMMANDS)] == [command(1).key, command(3).key]


def test_a_refused_row_comes_back_with_the_stale_rows(world: KernelHarness) -> None:
    world.publisher.refused_topics = {EVENTS}
    refused = (2, [command(2)._replace(topic=EVENTS)])
    world.relay.submit_rows([refused])
    assert not world.relay.run_once(0)
    assert world.relay.is_idle()
    world.publisher.refused_topics.clear()
    world.relay.submit_rows([refused])
    assert world.relay.run_once(0)
    assert world.relay.take_published() == [2]


def test_a_connection_lost_while_rows_go_singly_keeps_the_rest_in_front(world: KernelHarness) -> None:
    world.publisher.refused_topics = {EVENTS}
    refused = (1, [command(1)._replace(topic=EVENTS)])
    world.relay.submit_rows([refused, row(2, 2), row(3, 3)])
    world.publisher.errors = [UNREACHABLE]
    assert not world.relay.run_once(0)
    world.relay.submit_rows([row(4, 2)])
    assert world.relay.retry_after_ms() > 0
    assert world.relay.run_once(0)
    assert world.publisher.batches[-1] == [command(2), command(3), command(2)]
    assert world.relay.take_published() == [2, 3, 4]


def test_rows_read_back_are_not_queued_twice(world: KernelHarness) -> None:
    world.relay.submit_rows([row(1, 1)])
    world.relay.submit_rows([row(1, 1), row(2, 2)])
    assert world.relay.waiting() == 2
    world.relay.run_once(0)
    world.relay.submit_rows([row(1, 1), row(2, 2)])
    assert world.relay.waiting() == 0, "published, but not yet deleted"
    assert len(sent(world)) == 2


def test_rows_whose_deletion_failed_are_given_back(world: KernelHarness) -> None:
    world.relay.submit_rows([row(1, 1)])
    world.relay.run_once(0)
    taken = world.relay.take_published()
    assert not world.relay.has_published()
    world.relay.give_back_published(taken)
    assert world.relay.take_published() == [1]


def test_rows_under_way_are_neither_idle_nor_queued_again(world: KernelHarness) -> None:
    def look() -> None:
        world.relay.submit_rows([row(1, 1), row(2, 2), row(3, 3)])
        assert (world.relay.waiting(), world.relay.is_idle()) == (3, False)

    world.publisher.during = look
    world.relay.submit_rows([row(1, 1), row(2, 2)])
    assert world.relay.run_once(0)
    assert (world.relay.waiting(), world.relay.is_idle()) == (1, False)


def test_one_step_publishes_no_more_than_its_limit_and_one_batch(world: KernelHarness) -> None:
    many = [command(n % 7) for n in range(PUBLISH_MESSAGES_MAX - 1)]
    world.relay.submit_rows([(1, many), row(2, 1, 2), row(3, 3)])
    assert world.relay.run_once(0)
    assert len(world.publisher.batches[0]) == PUBLISH_MESSAGES_MAX + 1
    assert world.relay.waiting() == 1
    assert world.relay.run_once(0)
    assert world.relay.take_published() == [1, 2, 3]


def test_a_bus_too_slow_for_all_that_waits_gets_ever_less_until_it_manages_and_then_more(
    world: KernelHarness,
) -> None:
    """What waits grows meanwhile: tried as a whole it would never be done in the time of a delivery."""
    manages = 60

    def slow() -> None:
        if len(world.publisher.batches[-1]) > manages:
            raise UNDELIVERED

    world.publisher.during = slow
    world.relay.submit_rows([row(number, *range(4)) for number in range(1, 201)])
    for _ in range(200):
        world.relay.run_once(0)
    assert world.relay.is_idle()
    tried = [len(batch) for batch in world.publisher.batches]
    assert tried[:5] == [800, 400, 200, 100, 52]
    assert sum(count > manages for count in tried[5:]) <= len(tried[5:]) / 2, "most of what is tried arrives"
    world.publisher.during = lambda: None
    world.relay.submit_rows([row(1000 + number, *range(4)) for number in range(1000)])
    while not world.relay.is_idle():
        world.relay.run_once(0)
    assert max(map(len, world.publisher.batches[len(tried) :])) > 5 * manages


def test_stop_ends_the_wait_of_a_step(world: KernelHarness) -> None:
    ended: list[bool] = []
    waiting = Thread(target=lambda: ended.append(world.relay.run_once(60)))
    waiting.start()
    world.relay.stop()
    waiting.join(10)
    assert ended == [False]


def test_after_the_stop_a_step_does_not_wait(world: KernelHarness) -> None:
    world.relay.stop()
    ended: list[bool] = []
    asking = Thread(target=lambda: ended.append(world.relay.run_once(60)), daemon=True)
    asking.start()
    asking.join(10)
    assert ended == [False]


def test_a_submitted_row_ends_the_wait_of_a_step(world: KernelHarness) -> None:
    ended: list[bool] = []
    waiting = Thread(target=lambda: ended.append(world.relay.run_once(60)))
    waiting.start()
    world.relay.submit_rows([row(1, 1)])
    waiting.join(10)
    assert ended == [True]


def test_what_is_queued_at_the_stop_can_still_be_published(world: KernelHarness) -> None:
    world.relay.submit_rows([row(1, 1)])
    world.relay.stop()
    assert world.relay.run_once(60)
    assert world.relay.take_published() == [1]


class DeadTopic:
    """A bus of which one topic takes nothing: the messages of all others are there."""

    def __init__(self, world: KernelHarness, topic: str) -> None:
        self.world, self.topic, self.alive = world, topic, False
        self.tried: list[list[Message]] = []

    def publish(self, batch: Sequence[Message]) -> None:
        self.tried.append(list(batch))
        missing = frozenset(n for n, each in enumerate(batch) if each.topic == self.topic and not self.alive)
        self.world.bus.publisher().publish([each for n, each in enumerate(batch) if n not in missing])
        if missing:
            raise PublishFailed(len(missing), "this partition has no leader", missing)


@pytest.fixture
def dead(world: KernelHarness, monkeypatch: pytest.MonkeyPatch) -> DeadTopic:
    dead = DeadTopic(world, EVENTS)
    monkeypatch.setattr(world.publisher, "publish", dead.publish)
    monkeypatch.setattr(world.relay, "_monotonic_ms", world.clock)
    return dead


def for_events(n: int) -> Message:
    return command(n)._replace(topic=EVENTS)


def keys(world: KernelHarness, topic: str) -> list[bytes | None]:
    return [record.key for record in world.on_topic(topic)]


def test_one_partition_that_takes_nothing_holds_up_no_other_saga(
    world: KernelHarness, dead: DeadTopic
) -> None:
    world.relay.submit_rows([(1, [command(1), for_events(2)]), row(2, 3)])
    assert world.relay.run_once(0)
    assert world.relay.take_published() == [2], "a row of which something is missing is kept"
    assert keys(world, INVENTORY_COMMANDS) == [command(1).key, command(3).key]
    for number in range(3, 10):
        world.relay.submit_rows([row(number, number)])
        assert world.relay.run_once(0)
        assert world.relay.take_published() == [number]
    assert (world.relay.failures_in_a_row, world.relay.retry_after_ms()) == (0, 0)
    assert (world.relay.waiting(), world.relay.undelivered()) == (0, 1), "what sheds load does not count it"


def test_nothing_of_a_saga_overtakes_what_is_undelivered(world: KernelHarness, dead: DeadTopic) -> None:
    world.relay.submit_rows([(1, [for_events(2)]), row(2, 1)])
    world.relay.run_once(0)
    world.relay.submit_rows([row(3, 2, 4), (4, [for_events(2)])])
    world.relay.run_once(0)
    assert command(2).key not in keys(world, INVENTORY_COMMANDS)
    assert world.relay.take_published() == [2]
    dead.alive = True
    world.clock.now_ms += RETRY_CAP_MS * 10
    assert world.relay.run_once(0)
    assert dead.tried[-1] == [for_events(2), command(2), for_events(2)], "in the order of their commits"
    assert sorted(world.relay.take_published()) == [1, 3, 4]
    assert (world.relay.undelivered(), world.relay.is_idle()) == (0, True)


def test_what_is_undelivered_is_tried_again_ever_more_slowly_and_only_it(
    world: KernelHarness, dead: DeadTopic
) -> None:
    world.relay.submit_rows([(1, [command(1), for_events(2)])])
    world.relay.run_once(0)
    waits: list[int] = []
    for _ in range(6):
        began = world.clock.now_ms
        while not world.relay.is_idle() or len(dead.tried) < len(waits) + 2:
            world.clock.now_ms += 100
            world.relay.run_once(0)
        waits.append(world.clock.now_ms - began)
    assert waits[0] < waits[2] < waits[4]
    assert all(tried == [for_events(2)] for tried in dead.tried[1:])


def test_a_thread_of_its_own_tries_again_so_that_step_never_waits_for_it(
    world: KernelHarness, dead: DeadTopic
) -> None:
    retries = ScriptedPublisher(world.bus)
    world.relay.retry_with(ProducerManager(_Publishing(world.bus, retries)))
    world.relay.submit_rows([(1, [for_events(2)]), row(2, 1)])
    world.relay.run_once(0)
    world.clock.now_ms += RETRY_CAP_MS * 10
    assert not world.relay.run_once(0)
    assert len(dead.tried) == 1
    assert world.relay.retry()
    assert retries.batches == [[for_events(2)]]
    assert sorted(world.relay.take_published()) == [1, 2]


def test_a_part_that_is_retried_before_the_rest_of_its_row_is_out_deletes_nothing_early(
    world: KernelHarness, dead: DeadTopic
) -> None:
    world.relay.submit_rows([(1, [for_events(2)]), row(2, 1)])
    world.relay.run_once(0)
    world.relay.take_published()
    dead.alive = True
    world.clock.now_ms += RETRY_CAP_MS * 10

    def meanwhile(batch: Sequence[Message]) -> None:
        world.publisher.publish = dead.publish  # type: ignore[method-assign]
        assert world.relay.retry()
        assert world.relay.take_published() == [1], "the rest of row 3 is still under way"
        dead.publish(batch)

    world.publisher.publish = meanwhile  # type: ignore[method-assign]
    world.relay.submit_rows([row(3, 2, 5)])
    assert world.relay.run_once(0)
    assert world.relay.take_published() == [3]


def test_a_queue_that_begins_with_nothing_but_undeliverable_messages_is_passed_in_the_end(
    world: KernelHarness, dead: DeadTopic
) -> None:
    world.relay.submit_rows([(n, [for_events(n)]) for n in range(1, 30)])
    world.relay.submit_rows([row(100, 100)])
    for _ in range(40):
        world.relay.run_once(0)
    assert world.relay.take_published() == [100]
    assert world.relay.undelivered() == 29


def test_a_refused_message_costs_its_row_neighbours_of_other_sagas_nothing(world: KernelHarness) -> None:
    world.publisher.refused_topics = {EVENTS}
    world.relay.submit_rows([(1, [command(1), for_events(2), command(3)])])
    assert world.relay.run_once(0)
    assert keys(world, INVENTORY_COMMANDS) == [command(1).key, command(3).key]
    assert world.relay.take_published() == []
    world.publisher.refused_topics = set()
    world.relay.submit_rows([(1, [command(1), for_events(2), command(3)])])
    assert world.relay.run_once(0)
    assert world.relay.take_published() == [1]
    assert len(keys(world, INVENTORY_COMMANDS)) == 2, "what is there is not published again"


def test_a_bus_that_took_a_part_does_not_open_the_breaker(world: KernelHarness, dead: DeadTopic) -> None:
    breaker = Breaker("publish", (PublishFailed,), monotonic=lambda: 0.0)
    world.relay.producer = ProducerManager(world.relay.producer._bus, breaker)
    for number in range(1, 40):
        world.relay.submit_rows([(number, [command(number), for_events(1000 + number)])])
        assert world.relay.run_once(0)
    assert breaker.retry_after_s() == 0
