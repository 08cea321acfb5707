"""Every kind of poison is parked for its own reason, with its bytes; what comes before and after it flows."""

import pytest
from tests.poisons import POISONS, Poison, sound
from tests.samples import saga_id
from tests.unit.messaging.kernel_harness import KernelHarness

from holdfast.bus.port import TopicPartition
from holdfast.contracts.topics import INVENTORY_COMMANDS, ORCHESTRATOR


def test_there_are_enough_kinds_each_with_its_name() -> None:
    assert len({poison.name for poison in POISONS}) == len(POISONS) >= 20


@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.name)
def test_poison_is_parked_and_its_neighbours_flow(poison: Poison) -> None:
    world = KernelHarness()
    spoiled = poison.spoil(sound(saga_id(2)))
    place = TopicPartition(INVENTORY_COMMANDS, 0)
    for message in (sound(saga_id(1)), spoiled, sound(saga_id(3))):
        world.bus.of(ORCHESTRATOR).publisher().publish([message])
        _move_last_to(world, place)
    assert world.manager.run_once(0) == 3
    assert world.rows("seen") == {saga_id(1): 1, saga_id(3): 1}
    [row] = world.rows("parked").values()
    assert row.reason == poison.reason
    assert (row.record.key, row.record.value, row.record.headers) == spoiled[1:]
    assert (row.record.place, row.record.offset, row.attempts) == (place, 1, 1)
    assert world.committed() == 3
    while world.relay.run_once(0):
        pass
    [letter] = world.on_topic(f"{INVENTORY_COMMANDS}.dlq")
    assert (letter.key, letter.value) == (spoiled.key, spoiled.value)
    headers = dict(letter.headers)
    assert headers["x-error-type"] == poison.reason.encode()
    assert headers["x-original-offset"] == b"1"
    assert headers["x-first-at"] == headers["x-last-at"] == str(world.clock.now_ms).encode()


def _move_last_to(world: KernelHarness, place: TopicPartition) -> None:
    """Put what was just published behind all else on one partition, wherever its key sent it."""
    log = world.bus.state.log
    there = [record for each in log for record in log[each] if each != place]
    if there:
        [record] = there
        log[record.place] = ()
        moved = record._replace(partition=place.partition, offset=len(log[place]))
        log[place] += (moved,)
