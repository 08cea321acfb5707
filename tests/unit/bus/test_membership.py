"""A member's life, on leases in memory and a clock that the test moves."""

from collections.abc import Iterable, Sequence

import pytest

from holdfast.bus.leases import GroupView, Lease
from holdfast.bus.membership import Membership, Progress
from holdfast.bus.port import BusUnavailable, NotOwner, RebalanceListener, TopicPartition

A, B, C = (TopicPartition("t", partition) for partition in range(3))


class Store:
    """Leases of three partitions, and a log of the calls."""

    def __init__(self) -> None:
        self.members: dict[str, tuple[str, ...]] = {"me": ("t",)}
        self.leases = {place: Lease(place, None, 0, 0) for place in (A, B, C)}
        self.calls: list[str] = []
        self.answer_lost = False

    def renew(self) -> GroupView:
        self.calls.append("renew")
        return GroupView(self.members, list(self.leases.values()))

    def take(self, leases: Sequence[Lease]) -> list[Lease]:
        self.calls.append("take")
        taken = [lease._replace(owner="me", epoch=lease.epoch + 1) for lease in leases]
        self.leases.update({lease.place: lease for lease in taken})
        if self.answer_lost:
            raise BusUnavailable("the answer was lost")
        return taken

    def commit(self, progress: Sequence[Progress]) -> frozenset[TopicPartition]:
        self.calls.append("commit")
        done = [p for p in progress if self.leases[p.place].epoch == p.epoch]
        for place, _, offset in done:
            self.leases[place] = self.leases[place]._replace(committed=offset)
        return frozenset(p.place for p in done)

    def restart(self, place: TopicPartition, epoch: int) -> bool:
        self.calls.append("restart")
        mine = self.leases[place].epoch == epoch
        if mine:
            self.leases[place] = self.leases[place]._replace(committed=0)
        return mine

    def release(self, places: Iterable[TopicPartition]) -> None:
        self.calls.append("release")
        for place in places:
            self.leases[place] = self.leases[place]._replace(owner=None)

    def leave(self) -> None:
        self.calls.append("leave")

    def take_over(self, place: TopicPartition) -> None:
        lease = self.leases[place]
        self.leases[place] = lease._replace(owner="other", epoch=lease.epoch + 1)


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.store = Store()
        self.heard: list[tuple[str, frozenset[TopicPartition]]] = []
        assignment = RebalanceListener(
            lambda places: self.heard.append(("assigned", places)),
            self.revoked,
            lambda places: self.heard.append(("lost", places)),
        )
        self.member = Membership("me", self.store, assignment, lease_s=3.0, clock=lambda: self.now)

    def revoked(self, places: frozenset[TopicPartition]) -> None:
        self.heard.append(("revoked", places))
        self.member.commit(dict.fromkeys(places, 7))

    def beat(self) -> None:
        self.now += 1.0
        self.member.heartbeat()


@pytest.fixture
def world() -> World:
    return World()


def test_a_beat_is_due_three_times_a_lease(world: World) -> None:
    world.member.heartbeat()
    world.now += 0.99
    world.member.heartbeat()
    assert world.store.calls.count("renew") == 1
    world.now += 0.02
    world.member.heartbeat()
    assert world.store.calls.count("renew") == 2


def test_revoked_comes_while_the_partitions_are_still_held(world: World) -> None:
    world.beat()
    world.store.members["other"] = ("t",)
    world.store.calls.clear()
    world.beat()
    (given_up,) = [places for word, places in world.heard if word == "revoked"]
    assert world.store.calls == ["renew", "commit", "release"]
    assert all(world.store.leases[place].committed == 7 for place in given_up)
    assert given_up.isdisjoint(world.member.lanes)


def test_lost_is_told_once_and_its_records_are_not_read_any_more(world: World) -> None:
    world.beat()
    world.store.take_over(B)
    world.beat()
    world.beat()
    assert [entry for entry in world.heard if entry[0] == "lost"] == [("lost", frozenset({B}))]
    assert B not in [place for place, _ in world.member.ready()]


def test_a_refused_commit_keeps_the_others_and_forgets_the_partition(world: World) -> None:
    world.beat()
    world.store.take_over(B)
    with pytest.raises(NotOwner) as refused:
        world.member.commit({A: 5, B: 5})
    assert refused.value.partitions == {B}
    assert world.store.leases[A].committed == 5
    assert set(world.member.lanes) == {A, C}
    world.member.heartbeat()  # due at once
    assert world.heard[-1] == ("lost", frozenset({B}))


def test_a_lease_whose_taking_was_never_answered_is_taken_again(world: World) -> None:
    world.store.answer_lost = True
    with pytest.raises(BusUnavailable):
        world.beat()
    assert not world.member.lanes
    world.store.answer_lost = False
    world.beat()
    assert {place: lane.epoch for place, lane in world.member.lanes.items()} == {A: 2, B: 2, C: 2}
    world.member.commit({A: 1})
    assert world.store.leases[A].committed == 1


def test_leaving_tells_what_is_revoked_before_it_goes(world: World) -> None:
    world.beat()
    world.member.leave()
    assert world.heard[-1] == ("revoked", frozenset({A, B, C}))
    assert world.store.calls[-2:] == ["commit", "leave"]
    assert not world.member.lanes


def test_rewind_goes_to_what_this_member_committed(world: World) -> None:
    world.beat()
    world.member.commit({A: 5})
    world.member.lanes[A].position = 50
    world.member.rewind(A)
    world.member.rewind(TopicPartition("t", 99))
    assert world.member.lanes[A].position == 5


def test_a_restart_begins_at_0_durably_and_only_while_the_lease_is_held() -> None:
    world = World()
    world.member.heartbeat()
    place = next(iter(world.member.lanes))
    world.member.commit({place: 7})
    world.member.restart(place)
    cursor = world.member.lanes[place]
    assert (cursor.position, cursor.committed, world.store.leases[place].committed) == (0, 0, 0)
    world.store.take_over(place)
    with pytest.raises(NotOwner):
        world.member.restart(place)
