"""The rule by which members share: complete, even, and still once it is so."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.bus.leases import GroupView, Lease, plan
from holdfast.bus.port import TopicPartition

TOPICS = {"a": 4, "b": 4, "c": 3, "d": 12}
MEMBERS = ("m1", "m2", "m3", "m4", "m5")


@st.composite
def groups(draw: st.DrawFn) -> GroupView:
    """Any living members with any subscriptions, and any owners, dead and unsubscribed ones among them."""
    members = draw(
        st.dictionaries(
            st.sampled_from(MEMBERS), st.sets(st.sampled_from(sorted(TOPICS)), min_size=1), min_size=1
        )
    )
    owner = st.sampled_from([None, *sorted(members)])
    leases = []
    for topic, count in TOPICS.items():
        for partition in range(count):
            holder = draw(owner)
            if holder is not None and topic not in members[holder]:
                holder = None
            leases.append(Lease(TopicPartition(topic, partition), holder, 1, 0))
    return GroupView(members, leases)


def seen_by(member: str, group: GroupView) -> GroupView:
    return GroupView(group.members, [x for x in group.leases if x.place.topic in group.members[member]])


def apply(member: str, group: GroupView) -> GroupView:
    """Let one member do what it plans, as if it were alone for that moment."""
    due = plan(member, seen_by(member, group))
    taken = {lease.place for lease in due.take}
    leases = []
    for lease in group.leases:
        owner = None if lease.place in due.give_up else lease.owner
        leases.append(lease._replace(owner=member if lease.place in taken else owner))
    return GroupView(group.members, leases)


@given(groups())
def test_members_that_act_in_turn_own_everything_evenly_after_two_rounds(group: GroupView) -> None:
    for _ in range(2):
        for member in group.members:
            group = apply(member, group)
    for topic, count in TOPICS.items():
        subscribers = [name for name, topics in group.members.items() if topic in topics]
        owners = [lease.owner for lease in group.leases if lease.place.topic == topic]
        if subscribers:
            counts = [owners.count(name) for name in subscribers]
            assert sum(counts) == count
            assert max(counts) - min(counts) <= 1
    for member in group.members:
        assert plan(member, seen_by(member, group)) == ([], [])


@given(groups())
def test_a_plan_only_gives_up_its_own_and_only_takes_what_is_free(group: GroupView) -> None:
    owners = {lease.place: lease.owner for lease in group.leases}
    for member in group.members:
        due = plan(member, seen_by(member, group))
        assert all(owners[place] == member for place in due.give_up)
        assert all(owners[lease.place] is None for lease in due.take)


def test_members_of_equal_topics_differ_by_one_partition_over_all_topics() -> None:
    leases = [Lease(TopicPartition(topic, p), None, 0, 0) for topic in "abcd" for p in range(4)]
    group = GroupView({"m1": "abcd", "m2": "abcd", "m3": "abcd"}, leases)
    for member in group.members:
        group = apply(member, group)
    owners = [lease.owner for lease in group.leases]
    assert sorted(owners.count(member) for member in group.members) == [5, 5, 6]


def test_members_that_join_together_reach_for_different_partitions() -> None:
    leases = [Lease(TopicPartition("a", p), None, 0, 0) for p in range(4)]
    group = GroupView({"m1": "a", "m2": "a"}, leases)
    first, second = plan("m1", group).take, plan("m2", group).take
    assert len(first) == len(second) == 2
    assert not set(first) & set(second)
