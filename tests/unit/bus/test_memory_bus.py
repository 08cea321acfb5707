"""What a simulator relies on: the bus in memory is deterministic, and its state can be copied."""

from holdfast.bus.memory import LeaseRow, MemoryBus
from holdfast.bus.port import Message, TopicPartition

PLACE = TopicPartition("t", 0)


def make(now: list[float]) -> MemoryBus:
    bus = MemoryBus(lambda: now[0], lease_s=10.0)
    bus.create_topics(["t"], 1)
    bus.publisher().publish([Message("t", b"k", b"v")])
    return bus


def test_equal_histories_leave_equal_states() -> None:
    states = []
    for _ in range(2):
        now = [5.0]
        bus = make(now)
        for group in ("g", "h"):
            consumer = bus.consumer(group, ["t"])
            consumer.poll(10, 0.0)
            now[0] += 1.0
            consumer.commit({PLACE: 1})
        states.append(bus.state)
    assert states[0] == states[1]
    assert states[0].leases["g", PLACE] == LeaseRow("member-1", 1, 16.0, 1)


def test_a_copy_of_the_state_lives_on_its_own() -> None:
    bus = make([5.0])
    twin = MemoryBus(lambda: 5.0, state=bus.state.copy())
    assert twin.state == bus.state
    twin.publisher().publish([Message("t", b"k", b"w")])
    twin.consumer("g", ["t"]).poll(10, 0.0)
    assert len(bus.state.log[PLACE]) == 1
    assert not bus.state.members
    assert not bus.state.leases


def test_a_lease_lasts_as_long_as_the_clock_says() -> None:
    now = [5.0]
    bus = make(now)
    first, second = bus.consumer("g", ["t"]), bus.consumer("g", ["t"])
    assert len(first.poll(10, 0.0)) == 1
    now[0] += 9.9
    assert second.poll(10, 3600.0) == []
    now[0] += 3.5
    assert len(second.poll(10, 0.0)) == 1
    assert bus.state.leases["g", PLACE].epoch == 2
