"""Which member of a group should hold which partition: one pure rule that every member applies to its view.

No clock and no storage here: the buses decide which members live, and take leases by compare and swap.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from holdfast.bus.port import TopicPartition


class Lease(NamedTuple):
    """A group's lease on one partition. `owner` is None if no member holds it or the lease has expired."""

    place: TopicPartition
    owner: str | None
    epoch: int
    committed: int


class GroupView(NamedTuple):
    """A group as one member sees it: the living members' topics, and the leases of its own topics."""

    members: Mapping[str, Collection[str]]
    leases: Sequence[Lease]


class LeasePlan(NamedTuple):
    give_up: list[TopicPartition]
    take: list[Lease]


def plan(me: str, group: GroupView) -> LeasePlan:
    """Return what `me` should give up and may take, so that subscribers share each topic evenly.

    The quotas of all members add up to all partitions whatever each of them subscribes to, so no partition
    stays without an owner. Any partitions may fill a quota, so none moves without need.
    """
    ordinals = {topic: i for i, topic in enumerate(sorted({t for ts in group.members.values() for t in ts}))}
    give_up: list[TopicPartition] = []
    take: list[Lease] = []
    for topic in sorted(group.members[me]):
        leases = sorted(lease for lease in group.leases if lease.place.topic == topic)
        members = sorted(name for name, topics in group.members.items() if topic in topics)
        rank = members.index(me)
        quota = _quota(len(leases), len(members), rank, ordinals[topic])
        mine = [lease.place for lease in leases if lease.owner == me]
        free = [lease for lease in leases if lease.owner is None]
        give_up += mine[quota:]
        lacking = max(0, quota - len(mine))
        start = rank * lacking % len(free) if free else 0  # members of different rank try different ones
        take += (free[start:] + free[:start])[:lacking]
    return LeasePlan(give_up, take)


def _quota(partitions: int, members: int, rank: int, ordinal: int) -> int:
    """Share as evenly as whole numbers allow; at the next topic, other members get the remainder."""
    whole, rest = divmod(partitions, members)
    first_with_more = ordinal * rest % members
    return whole + ((rank - first_with_more) % members < rest)
