"""The outbox rows of a dead instance are published by the lease's holder (protocol, line 31)."""

import pytest
from tests.unit.messaging.kernel_harness import KernelHarness, command

from holdfast.bus.port import Message
from holdfast.contracts.topics import EVENTS, INVENTORY_COMMANDS
from holdfast.messaging import outbox_rescuer
from holdfast.messaging.outbox_rescuer import LEASE_MS, LOOK_EVERY_MS, STALE_AFTER_MS, OutboxRescuer


@pytest.fixture
def world() -> KernelHarness:
    return KernelHarness()


def leave_lying(world: KernelHarness, *batches: list[Message]) -> list[int]:
    """Append batches without publishing them, like an instance that dies after its commit."""
    ids = []
    for batch in batches:
        with world.store.transaction() as tx:
            ids.append(tx.append_outbox(batch).id)
    return ids


def test_stale_rows_are_published_in_their_order_and_deleted(world: KernelHarness) -> None:
    ids = leave_lying(world, [command(1), command(2)], [command(3)])
    net = OutboxRescuer("me")
    world.clock.now_ms += STALE_AFTER_MS - 1
    net.run_once(world.manager)
    assert world.relay.is_idle()
    assert net.age_ms == STALE_AFTER_MS - 1
    world.clock.now_ms += 1
    net.run_once(world.manager)
    assert world.relay.run_once(0)
    assert world.publisher.batches == [[command(1), command(2), command(3)]]
    assert sorted(world.rows("outbox")) == ids
    world.manager.run_once(0)
    assert not set(ids) & set(world.rows("outbox"))
    net.run_once(world.manager)
    assert net.age_ms == 0


def test_only_the_leases_holder_publishes_them_until_it_expires(world: KernelHarness) -> None:
    leave_lying(world, [command(1)])
    world.clock.now_ms += STALE_AFTER_MS
    with world.store.transaction() as tx:
        assert tx.take_lease("relay", "other", LEASE_MS)
    net = OutboxRescuer("me")
    net.run_once(world.manager)
    assert world.relay.is_idle()
    world.clock.now_ms += LEASE_MS
    net.run_once(world.manager)
    assert world.relay.waiting() == 1
    with world.store.transaction() as tx:
        assert not tx.take_lease("relay", "other", LEASE_MS)


def test_rows_that_this_instance_still_holds_are_not_published_twice(world: KernelHarness) -> None:
    world.send(1)
    world.manager.run_once(0)
    world.clock.now_ms += STALE_AFTER_MS
    OutboxRescuer("me").run_once(world.manager)
    world.relay.run_once(0)
    assert [len(batch) for batch in world.publisher.batches] == [1]
    OutboxRescuer("me").run_once(world.manager)
    assert world.relay.is_idle()


def test_the_outbox_rescuer_is_a_periodic_task_of_the_writer(world: KernelHarness) -> None:
    leave_lying(world, [command(1)])
    world.clock.now_ms += STALE_AFTER_MS
    manager = world.new_manager([OutboxRescuer("me").periodic_task()])
    manager.run_once(0)
    world.relay.run_once(0)
    assert [record.key for record in world.on_topic(INVENTORY_COMMANDS)] == [command(1).key]
    assert LOOK_EVERY_MS < STALE_AFTER_MS < LEASE_MS


def test_rows_that_the_bus_does_not_take_hide_no_others_and_do_not_count_as_old(
    world: KernelHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_rescuer, "ROWS_MAX", 2)
    world.publisher.refused_topics = {EVENTS}
    refused = leave_lying(world, *([command(n)._replace(topic=EVENTS)] for n in (1, 2)))
    world.clock.now_ms += STALE_AFTER_MS
    net = OutboxRescuer("me")
    net.run_once(world.manager)
    world.relay.run_once(0)
    assert world.relay.undelivered_rows() == refused
    leave_lying(world, [command(3)])
    world.clock.now_ms += STALE_AFTER_MS
    net.run_once(world.manager)
    assert (net.age_ms, net.oldest_age_ms) == (STALE_AFTER_MS, 2 * STALE_AFTER_MS)
    assert world.relay.run_once(0)
    assert [record.key for record in world.on_topic(INVENTORY_COMMANDS)] == [command(3).key]
