"""Members of a group: sharing, joining, leaving, dying, and coming back after they were expelled."""

import pytest
from tests.conformance.harness import Harness
from tests.conformance.scenario import (
    check_order,
    look,
    numbered,
    places,
    poll,
    read,
    settle,
    upto,
    values,
)

from holdfast.bus.port import NotOwner, TopicPartition


def test_members_share_evenly_as_they_join_and_leave(harness: Harness) -> None:
    topics, group = [harness.topic(), harness.topic()], harness.group()
    members = []
    for _ in range(3):
        members.append(harness.consumer(group, topics))
        settle(harness, members, topics)
    members.pop(0).close()
    settle(harness, members, topics)
    members.pop(1).close()
    settle(harness, members, topics)


def test_a_member_beyond_the_partitions_waits_for_its_turn(harness: Harness) -> None:
    topic, group = harness.topic(partitions=2), harness.group()
    members = [harness.consumer(group, [topic]) for _ in range(3)]
    settle(harness, members, [topic])
    idle = next(member for member in members if not member.assignment())
    members.remove(idle)
    members.pop().close()
    settle(harness, [*members, idle], [topic])


def test_a_partition_changes_hands_between_batches(harness: Harness) -> None:
    """Messages flow while members come and go in good order: each is consumed once, in order."""
    topic, group = harness.topic(), harness.group()
    publisher = harness.publisher()
    first, second = harness.member(group, [topic]), harness.member(group, [topic])
    records = []
    for start, readers in ((0, [first]), (200, [first, second]), (400, [first, second])):
        publisher.publish(numbered(topic, 200, keys=40, first=start))
        records += read(harness, readers, 200)
    settle(harness, [first, second], [topic])
    publisher.publish(numbered(topic, 200, keys=40, first=600))
    first.close()
    records += read(harness, [second], 200)
    check_order(records)
    assert sorted(values(records)) == list(range(800))


def test_callbacks_say_what_changes(harness: Harness) -> None:
    topic, group = harness.topic(), harness.group()
    first = harness.member(group, [topic])
    settle(harness, [first], [topic])
    second = harness.member(group, [topic])
    settle(harness, [first, second], [topic])
    held: set[TopicPartition] = set()
    for word, moved in first.callbacks():
        assert word in {"assigned", "revoked"}
        assert held.isdisjoint(moved) if word == "assigned" else held >= moved
        held = held | moved if word == "assigned" else held - moved
    assert held == first.assignment()
    assert {word for word, _ in first.callbacks()} == {"assigned", "revoked"}
    assert {word for word, _ in second.callbacks()} == {"assigned"}


def test_what_was_not_committed_comes_again_after_a_kill(harness: Harness) -> None:
    topic, group = harness.topic(), harness.group()
    harness.publisher().publish(numbered(topic, 100))
    first = harness.member(group, [topic])
    batch = look(harness, first, 100)
    done = [r for r in batch if r.offset < 5]
    first.commit(upto(done))
    first.kill()
    again = read(harness, [harness.member(group, [topic])], len(batch) - len(done))
    assert sorted(again) == sorted(r for r in batch if r.offset >= 5)


def test_the_partitions_of_a_killed_member_are_taken_over(harness: Harness) -> None:
    topic, group = harness.topic(), harness.group()
    members = [harness.member(group, [topic]) for _ in range(3)]
    settle(harness, members, [topic])
    members.pop(0).kill()
    settle(harness, members, [topic])
    members.pop(0).kill()
    settle(harness, members, [topic])
    harness.publisher().publish(numbered(topic, 50))
    assert sorted(values(read(harness, members, 50))) == list(range(50))


def test_a_member_that_was_stopped_comes_back_as_a_zombie(harness: Harness) -> None:
    topic, group = harness.topic(), harness.group()
    zombie, heir = harness.member(group, [topic]), harness.member(group, [topic])
    settle(harness, [zombie, heir], [topic])
    lost = zombie.assignment()
    publisher = harness.publisher()
    publisher.publish(numbered(topic, 100, keys=50))
    stale = look(harness, zombie, sum(publisher.end_offset(place) for place in lost))
    zombie.stop()
    records = read(harness, [heir], 100)  # its own half, and all of the other's again
    check_order(records)
    assert heir.assignment() == places(harness, [topic])

    zombie.cont()
    with pytest.raises(NotOwner) as refused:
        zombie.commit(upto(stale))
    assert refused.value.partitions == lost
    assert zombie.assignment().isdisjoint(lost)
    assert all(heir.committed(place) == upto(records)[place] for place in lost)

    settle(harness, [zombie, heir], [topic])
    publisher.publish(numbered(topic, 100, keys=50, first=100))
    assert sorted(values(read(harness, [zombie, heir], 100))) == list(range(100, 200))
    told = [word for word, _ in zombie.callbacks()]
    assert told.index("lost") > told.index("assigned")
    assert frozenset().union(*(moved for word, moved in zombie.callbacks() if word == "lost")) == lost


def test_a_zombie_that_polls_first_gets_no_record_of_another(harness: Harness) -> None:
    topic, group = harness.topic(), harness.group()
    zombie, heir = harness.member(group, [topic]), harness.member(group, [topic])
    settle(harness, [zombie, heir], [topic])
    harness.publisher().publish(numbered(topic, 400, keys=50))
    look(harness, zombie, 1, records_max=3)  # the rest may lie fetched already
    zombie.stop()
    records = read(harness, [heir], 400)
    zombie.cont()
    assert poll(zombie, 3) == []
    assert len(records) == 400


def test_members_killed_in_mid_load_lose_nothing(harness: Harness) -> None:
    topic, group = harness.topic(), harness.group()
    publisher = harness.publisher()
    victim, heir = harness.member(group, [topic]), harness.member(group, [topic])
    settle(harness, [victim, heir], [topic])
    records = []
    for start in range(0, 600, 200):
        publisher.publish(numbered(topic, 200, keys=40, first=start))
        look(harness, victim, 1, records_max=20)
        victim.kill()
        victim, heir = heir, harness.member(group, [topic])
        records += read(harness, [victim, heir], 200)
        settle(harness, [victim, heir], [topic])
    check_order(records)
    assert sorted(values(records)) == list(range(600))
