"""Who of a group should hold which partition: one pure rule that every member applies to what it sees.

No clock and no storage here; the buses ask when a member lives and take leases by compare and swap.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from holdfast.bus.port import TopicPartition


class Lease(NamedTuple):
    """A group's hold on one partition. `owner` is None where nobody holds it or the lease has expired."""

    place: TopicPartition
    owner: str | None
    epoch: int
    committed: int


class GroupView(NamedTuple):
    """A group as one member sees it: the living members' topics, the leases of its own topics."""

    members: Mapping[str, Collection[str]]
    leases: Sequence[Lease]


class LeasePlan(NamedTuple):
    give_up: list[TopicPartition]
    take: list[Lease]


def plan(me: str, group: GroupView) -> LeasePlan:
    """Say what `me` should give up and may take so that each topic is shared evenly by its subscribers.

    The quotas of all members add up to all partitions whatever each of them subscribes to, so nothing stays
    without an owner; which partitions fill a quota is free, so nothing moves without need.
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
        wanted = max(0, quota - len(mine))
        start = rank * wanted % len(free) if free else 0  # neighbours reach for different ones
        take += (free[start:] + free[:start])[:wanted]
    return LeasePlan(give_up, take)


def _quota(partitions: int, members: int, rank: int, ordinal: int) -> int:
    """Share as evenly as whole numbers allow; the remainder goes to others at the next topic."""
    whole, rest = divmod(partitions, members)
    first_with_more = ordinal * rest % members
    return whole + ((rank - first_with_more) % members < rest)
