"""One batch, one transaction: all of it or nothing, and what cannot be processed is kept with its bytes."""

from typing import Any

import pytest
from tests.samples import SAMPLES, saga_id
from tests.unit.messaging.kernel_harness import START_MS, KernelHarness, command, record

from holdfast import __version__
from holdfast.bus.port import RECORD_BYTES_MAX, Record
from holdfast.contracts.codec import encode
from holdfast.contracts.topics import EVENTS, INVENTORY_COMMANDS, ORCHESTRATOR
from holdfast.messaging.batch_processor import Committed, open_batch
from holdfast.messaging.handler import HandlerResult, OutboxMessage
from holdfast.messaging.memory_store import MemoryTransaction
from holdfast.messaging.parked import ParkedRecord
from holdfast.messaging.store import StoreUnavailable, TimerKey, TimerRow


@pytest.fixture
def world() -> KernelHarness:
    return KernelHarness()


def bad_record(offset: int = 9, **changes: Any) -> Record:
    """Return a command whose value is no JSON."""
    return record(9, offset)._replace(value=b"{broken", **changes)


def test_a_batch_leaves_its_state_and_its_replies_together(world: KernelHarness) -> None:
    committed = world.processor.run([record(1, 0), record(2, 1)])
    assert world.rows("seen") == {saga_id(1): 1, saga_id(2): 1}
    assert committed.handled == 2
    [(row_id, (at, messages))] = world.rows("outbox").items()
    assert (row_id, at, list(messages)) == (committed.outbox_id, START_MS, committed.messages)
    assert [dict(m.headers)["ce_id"] for m in committed.messages] == [
        f"{saga_id(n)}:inventory:done".encode() for n in (1, 2)
    ]
    assert {m.topic for m in committed.messages} == {EVENTS}
    assert dict(committed.messages[0].headers)["ce_causationid"] == f"{saga_id(1)}:inventory:do".encode()
    assert dict(committed.messages[0].headers)["ce_source"] == b"inventory-write"


@pytest.mark.parametrize("failure", ["bug", "trouble"])
def test_a_batch_that_fails_leaves_nothing(world: KernelHarness, failure: str) -> None:
    if failure == "bug":
        world.handler.bugs = {saga_id(2)}
    else:
        world.handler.unavailable = 1
    with pytest.raises(ZeroDivisionError if failure == "bug" else StoreUnavailable):
        world.processor.run([record(1), bad_record(), record(2)], forget=[7])
    assert not world.rows("seen")
    assert not world.rows("outbox")
    assert not world.rows("parked")


def test_nothing_to_do_opens_no_transaction(world: KernelHarness) -> None:
    foreign = record(1)._replace(topic=EVENTS)
    assert world.processor.run([foreign]) == Committed(0, [])
    assert not world.handler.batches
    assert open_batch([foreign], ORCHESTRATOR).bad


def test_published_rows_are_deleted_with_the_next_batch_or_on_their_own(world: KernelHarness) -> None:
    first = world.processor.run([record(1)])
    second = world.processor.run([record(2)], forget=[first.outbox_id])
    assert list(world.rows("outbox")) == [second.outbox_id]
    assert world.processor.run([], forget=[second.outbox_id]) == Committed(0, [])
    assert not world.rows("outbox")
    assert world.handler.batches == [1, 1]


def test_line_30_a_bad_record_is_parked_in_the_batchs_transaction_and_copied_to_the_dead_letters(
    world: KernelHarness,
) -> None:
    bad = bad_record()
    committed = world.processor.run([record(1, 8), bad, record(2, 10)])
    assert world.rows("seen") == {saga_id(1): 1, saga_id(2): 1}
    [parked] = world.rows("parked").values()
    assert isinstance(parked, ParkedRecord)
    assert (parked.record, parked.reason, parked.saga_id) == (bad, "malformed_json", saga_id(9))
    assert parked.message_id == f"{saga_id(9)}:inventory:do"
    assert committed.parked == 1
    letter = committed.messages[-1]
    assert (letter.topic, letter.key, letter.value) == (f"{INVENTORY_COMMANDS}.dlq", bad.key, b"{broken")
    assert letter.headers[: len(bad.headers)] == bad.headers
    assert dict(letter.headers[len(bad.headers) :]) == {
        "x-original-topic": INVENTORY_COMMANDS.encode(),
        "x-original-partition": b"0",
        "x-original-offset": b"9",
        "x-original-timestamp": str(START_MS).encode(),
        "x-error-type": b"malformed_json",
        "x-error-detail": parked.detail.encode(),
        "x-attempts": b"1",
        "x-first-at": str(START_MS).encode(),
        "x-last-at": str(START_MS).encode(),
        "x-consumer-group": b"inventory-write",
        "x-build": __version__.encode(),
    }


def test_a_dead_letter_keeps_no_value_as_none(world: KernelHarness) -> None:
    committed = world.processor.run([bad_record(key=None)._replace(value=None)])
    [letter] = committed.messages
    assert (letter.key, letter.value) == (b"", None)


def test_a_message_that_the_handler_parks_is_kept_too_and_the_rest_goes_on(world: KernelHarness) -> None:
    world.handler.parks = {saga_id(1)}
    committed = world.processor.run([record(1, 0), record(2, 1)])
    [parked] = world.rows("parked").values()
    assert isinstance(parked, ParkedRecord)
    assert (parked.record, parked.reason) == (record(1, 0), "impossible_command")
    assert [m.topic for m in committed.messages] == [EVENTS, f"{INVENTORY_COMMANDS}.dlq"]


@pytest.mark.parametrize(
    "changes",
    [
        {"value": b"x" * RECORD_BYTES_MAX},
        {"value": b"x" * (RECORD_BYTES_MAX - command(9)._replace(value=None).size)},
        {"key": b"k" * RECORD_BYTES_MAX},
        {"headers": (("ce_type", b"ReserveInventory"), ("padding", b"x" * RECORD_BYTES_MAX))},
    ],
    ids=["value", "exactly what the bus takes", "key", "headers"],
)
def test_a_dead_letter_always_fits_on_the_bus(world: KernelHarness, changes: dict[str, Any]) -> None:
    """A letter that the bus refuses would keep the replies of its whole batch from leaving."""
    committed = world.processor.run([record(1), bad_record()._replace(**changes)])
    letter = committed.messages[-1]
    assert (letter.key, letter.value) == (b"", None)
    assert dict(letter.headers)["x-original-offset"] == b"9"
    assert b"too large" in dict(letter.headers)["x-left-out"]
    world.bus.publisher().publish(committed.messages)
    [parked] = world.rows("parked").values()
    assert isinstance(parked, ParkedRecord)
    assert parked.record == bad_record()._replace(**changes)


def test_one_record_can_be_parked_for_a_bug_with_any_text(world: KernelHarness) -> None:
    committed = world.processor.park(record(1, 4), "handler_failed", "KeyError: \ud800" + "x" * 5000)
    [parked] = world.rows("parked").values()
    assert isinstance(parked, ParkedRecord)
    assert (parked.saga_id, parked.message_id) == (saga_id(1), f"{saga_id(1)}:inventory:do")
    assert parked.detail.startswith("KeyError: ?")
    assert len(dict(committed.messages[0].headers)["x-error-detail"]) == 1000
    assert not world.rows("seen")


def test_a_second_parking_of_one_place_counts_its_attempts(world: KernelHarness) -> None:
    for _ in range(3):
        world.processor.park(record(1, 4), "handler_failed", "again")
    [parked] = world.rows("parked").values()
    assert isinstance(parked, ParkedRecord)
    assert parked.attempts == 3


def test_a_fired_timer_is_written_with_the_row_of_what_it_sent(world: KernelHarness) -> None:
    timer = TimerRow(TimerKey(saga_id(1), "inventory", "do"), "deadline", 0, 1, 2, fired=1)

    def fire(_: MemoryTransaction) -> HandlerResult:
        value = encode(SAMPLES["ReserveInventory"])
        again = OutboxMessage(f"{saga_id(1)}:inventory:do", "ReserveInventory", saga_id(1), value, attempt=2)
        return HandlerResult(messages_to_seal=[again], fired=[timer])

    committed = world.processor.commit(fire)
    assert committed.outbox_id
    assert world.rows("timers") == {timer.key: timer._replace(outbox_id=committed.outbox_id)}
    assert dict(committed.messages[0].headers)["ce_attempt"] == b"2"


def test_line_3_a_message_id_may_stand_in_the_outbox_twice(world: KernelHarness) -> None:
    first, second = (world.processor.run([record(1)]) for _ in range(2))
    assert first.messages == second.messages
    assert sorted(world.rows("outbox")) == [first.outbox_id, second.outbox_id]


CARD = b"4111 1111 1111 1111"


def with_card(offset: int = 5) -> Record:
    """Return a command that would be processed if it did not hold a card number."""
    sound = record(5, offset)
    assert sound.value is not None
    return sound._replace(value=sound.value.replace(b'"sku":"', b'"note":"\xc2\xa0%b","sku":"' % CARD, 1))


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (with_card(), "card_number"),
        (record(5, 5)._replace(headers=(*record(5, 5).headers, ("x-note", CARD))), "card_number"),
        (record(5, 5)._replace(headers=(*record(5, 5).headers, (CARD.decode(), b""))), "card_number"),
        (bad_record()._replace(value=b"{broken " + CARD), "malformed_json"),
        (record(5, 5)._replace(key=CARD), "invalid_key"),
    ],
    ids=["payload", "header", "name of a header", "broken payload", "key"],
)
def test_of_a_message_with_a_card_number_all_but_the_number_is_kept(
    world: KernelHarness, held: Record, reason: str
) -> None:
    committed = world.processor.run([record(1), held, record(2)])
    assert world.rows("seen") == {saga_id(1): 1, saga_id(2): 1}
    [parked] = world.rows("parked").values()
    assert isinstance(parked, ParkedRecord)
    assert parked.reason == reason
    assert parked.is_masked
    assert dict(committed.messages[-1].headers)["x-masked"] == b"card_number"
    kept = repr((world.store.tables.tables, committed.messages))
    assert "4111" not in kept
    assert "*" * len(CARD) in kept


def test_why_a_bug_met_a_message_is_kept_without_the_card_number_in_it(world: KernelHarness) -> None:
    world.processor.park(record(1, 4), "handler_failed", f"KeyError: '{CARD.decode()}'")
    [parked] = world.rows("parked").values()
    assert isinstance(parked, ParkedRecord)
    assert parked.detail == f"KeyError: '{'*' * len(CARD)}'"
    assert not parked.is_masked
    assert parked.record == record(1, 4)
