"""Topics that change under a running service: it says so, undoes nothing, and skips no message."""

import pytest
from structlog.testing import capture_logs
from tests.samples import saga_id
from tests.unit.messaging.kernel_harness import KernelHarness

from holdfast.bus.port import BusUnavailable, PartitionsDiffer, Record, TopicPartition
from holdfast.contracts.topics import EVENTS, INVENTORY_COMMANDS, PARTITIONS_EMBEDDED, TOPICS, all_topics
from holdfast.messaging.consumer import KafkaConsumerManager
from holdfast.messaging.topic_watch import LOOK_EVERY_MS, TopicWatch


class Watched(KernelHarness):
    def __init__(self) -> None:
        super().__init__()
        self.watch = TopicWatch(self.bus, PARTITIONS_EMBEDDED)
        self.manager.periodic_tasks.append(self.watch.periodic_task())

    def look(self) -> int:
        """Run a round in which the watch looks."""
        self.clock.now_ms += LOOK_EVERY_MS
        return self.manager.run_once(0)

    def grow(self, topic: str, partitions: int) -> None:
        self.bus.state.partitions[topic] = partitions
        for partition in range(partitions):
            self.bus.state.log.setdefault(TopicPartition(topic, partition), ())

    def make_anew(self, topic: str) -> None:
        self.bus.state.generations[topic] = self.bus.state.generations.get(topic, 0) + 1
        for place in [place for place in self.bus.state.log if place.topic == topic]:
            self.bus.state.log[place] = ()


@pytest.fixture
def world() -> Watched:
    world = Watched()
    world.look()
    return world


def test_a_topic_that_grows_is_said_once_and_changes_nothing(world: Watched) -> None:
    world.grow(EVENTS, 9)
    world.grow(INVENTORY_COMMANDS, 6)
    with capture_logs() as logs:
        world.look()
        world.look()
    told = [(line["topic"], line["partitions"]) for line in logs if line["event"] == "partitions_differ"]
    assert sorted(told) == [(EVENTS, 9), (INVENTORY_COMMANDS, 6)]
    assert world.watch.differing == {EVENTS: 9, INVENTORY_COMMANDS: 6}
    world.send(*range(50))
    world.look()
    assert world.rows("seen") == {saga_id(n): 1 for n in range(50)}
    while world.relay.run_once(0):
        pass
    assert {each.partition for each in world.on_topic(EVENTS)} == set(range(PARTITIONS_EMBEDDED))
    assert world.manager.counters.misplaced == 0
    world.grow(EVENTS, PARTITIONS_EMBEDDED)
    world.grow(INVENTORY_COMMANDS, PARTITIONS_EMBEDDED)
    world.look()
    assert world.watch.differing == {}


def test_a_missing_topic_is_said(world: Watched) -> None:
    del world.bus.state.partitions[EVENTS]
    world.look()
    assert world.watch.differing == {EVENTS: 0}


def test_a_start_on_grown_topics_places_by_the_agreed_number(world: Watched) -> None:
    world.grow(INVENTORY_COMMANDS, 9)
    with pytest.raises(PartitionsDiffer, match=f"{INVENTORY_COMMANDS} has 9 partitions, not 4") as differ:
        world.bus.create_topics(all_topics(), PARTITIONS_EMBEDDED)
    assert differ.value.counts == {INVENTORY_COMMANDS: 9}
    world.send(*range(50))
    assert {each.partition for each in world.on_topic(INVENTORY_COMMANDS)} <= set(range(PARTITIONS_EMBEDDED))


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(world: Watched) -> None:
    world.send(*range(30))
    world.look()
    assert world.committed() == 30
    world.make_anew(INVENTORY_COMMANDS)
    world.send(*range(100, 120))
    with capture_logs() as logs:
        world.look()
        world.look()
    anew = [line["partition"] for line in logs if line["event"] == "topic_made_anew"]
    assert anew == list(range(PARTITIONS_EMBEDDED))
    assert {saga_id(n) for n in range(100, 120)} <= set(world.rows("seen"))
    assert (world.committed(), world.watch.made_anew) == (20, PARTITIONS_EMBEDDED)


def test_what_is_parked_of_the_new_topic_is_not_taken_for_what_lay_there_before(world: Watched) -> None:
    place = TopicPartition(INVENTORY_COMMANDS, 0)
    for value in (b"of the old one", b"of the new one"):
        world.bus.state.log[place] = (Record(*place, 0, None, value, (), 0),)
        world.look()
        world.look()
        world.make_anew(INVENTORY_COMMANDS)
    [row] = world.rows("parked").values()
    assert row.record.value == b"of the new one"


def test_a_topic_made_anew_while_nobody_ran_is_noticed_by_who_comes(world: Watched) -> None:
    world.send(*range(30))
    world.look()
    world.manager.close()
    world.make_anew(INVENTORY_COMMANDS)
    world.send(*range(100, 120))
    world.manager = world.new_manager([TopicWatch(world.bus, PARTITIONS_EMBEDDED).periodic_task()])
    for _ in range(3):
        world.look()
    assert {saga_id(n) for n in range(100, 120)} <= set(world.rows("seen"))
    assert world.committed() == 20


def test_partitions_are_not_read_again_by_whoever_takes_them_over(world: Watched) -> None:
    world.make_anew(INVENTORY_COMMANDS)
    world.send(*range(20))
    world.look()
    world.manager.close()
    other = TopicWatch(world.bus, PARTITIONS_EMBEDDED)
    world.manager = world.new_manager([other.periodic_task()])
    for _ in range(3):
        world.look()
    assert other.made_anew == 0
    assert set(world.rows("seen").values()) == {1}


def test_a_bus_that_does_not_answer_the_watch_holds_up_nothing(world: Watched) -> None:
    def away(*_: object) -> None:
        raise BusUnavailable("as scripted")

    world.bus.describe_topics = away  # type: ignore[method-assign, assignment]
    world.send(1)
    assert world.look() == 1


def test_a_record_on_another_partition_than_its_keys_is_an_alarm_and_is_processed(world: Watched) -> None:
    world.manager = KafkaConsumerManager(
        world.bus,
        [INVENTORY_COMMANDS],
        world.processor,
        world.relay,
        world.clock,
        partitions=PARTITIONS_EMBEDDED,
    )
    world.send(1)
    [lies] = world.on_topic(INVENTORY_COMMANDS)
    wrong = TopicPartition(INVENTORY_COMMANDS, (lies.partition + 1) % PARTITIONS_EMBEDDED)
    world.bus.state.log[wrong] = (lies._replace(partition=wrong.partition),)
    world.clock.now_ms += 60_000
    with capture_logs() as logs:
        assert world.manager.run_once(0) == 2
    assert world.manager.counters.misplaced == 1
    [line] = [line for line in logs if line["event"] == "record_misplaced"]
    assert (line["partition"], line["offset"]) == (wrong.partition, 0)
    assert world.rows("seen") == {saga_id(1): 2}
    assert world.rows("parked") == {}


def test_the_watch_looks_at_every_topic_that_services_read() -> None:
    assert set(TOPICS) == {topic for topic in all_topics() if not topic.endswith(".dlq")}
