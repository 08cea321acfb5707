"""Ready is who can hear and tell: a bus that fails on one side only is not called well."""

import pytest
from tests.unit.messaging.kernel_harness import UNDELIVERED, KernelHarness, command

from holdfast.messaging.write_probe import WriteProbe
from holdfast.runtime.readiness import TROUBLES_MIN, readiness_failures


@pytest.fixture
def world() -> KernelHarness:
    world = KernelHarness()
    world.manager.run_once(0)
    assert readiness_failures(world.manager, WriteProbe()) == []
    return world


def test_who_was_never_given_a_partition_is_not_ready() -> None:
    assert readiness_failures(KernelHarness().manager, WriteProbe()) == ["no partitions assigned"]


def test_who_lost_every_partition_is_not_ready_until_it_has_some_again(world: KernelHarness) -> None:
    world.clock.now_ms += 60_000  # past the lease
    other = world.new_manager()
    other.run_once(0)
    world.manager.run_once(0)
    assert readiness_failures(world.manager, WriteProbe()) == ["no partitions assigned"]
    other.close()
    world.clock.now_ms += 60_000  # its next look at the leases is due
    world.manager.run_once(0)
    assert readiness_failures(world.manager, WriteProbe()) == []


def test_who_gave_its_partitions_up_in_order_stays_ready(world: KernelHarness) -> None:
    world.manager.close()
    assert readiness_failures(world.manager, WriteProbe()) == []


def test_a_bus_that_takes_nothing_makes_it_unready_until_it_does(world: KernelHarness) -> None:
    """Records may come all the while: rounds of the consumer succeed."""
    world.publisher.errors = [UNDELIVERED] * TROUBLES_MIN
    world.relay.submit_rows([(1, [command(1)])])
    for failures in range(1, TROUBLES_MIN + 1):
        world.relay.run_once(0)
        world.manager.run_once(0)
        assert bool(readiness_failures(world.manager, WriteProbe())) is (failures == TROUBLES_MIN)
    assert readiness_failures(world.manager, WriteProbe()) == ["the bus takes no messages"]
    world.relay.run_once(0)
    assert readiness_failures(world.manager, WriteProbe()) == []


def test_rounds_that_fail_make_it_unready_until_one_succeeds(world: KernelHarness) -> None:
    world.bus.state.reachable = False
    for _ in range(TROUBLES_MIN):
        assert readiness_failures(world.manager, WriteProbe()) == []
        world.manager.run_once(0)
    assert readiness_failures(world.manager, WriteProbe()) == ["database or bus in trouble"]
    world.bus.state.reachable = True
    world.manager.run_once(0)
    assert readiness_failures(world.manager, WriteProbe()) == []
