"""Operators' acts on parked records: repeatable, logged, and what comes of a redriven one is known."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.samples import saga_id
from tests.unit.messaging.kernel_harness import KernelHarness, command, record

from holdfast.contracts.topics import INVENTORY_COMMANDS, ORDER
from holdfast.messaging.dead_letters import ROWS_PER_TRANSACTION, Actor, DeadLetters
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.parked import DeadLetterFilter, LogPosition, ParkedRecord
from holdfast.messaging.redriver import NAME, ROWS_MAX, Redriver

BECAUSE = Actor("olga", "the bug is mended")
EVERYTHING = DeadLetterFilter()


@pytest.fixture
def world() -> KernelHarness:
    world = KernelHarness()
    world.manager.periodic_tasks.append(Redriver().periodic_task())
    return world


@pytest.fixture
def dead_letters(world: KernelHarness) -> DeadLetters:
    return DeadLetters(world.processor, partial(world.manager.hurry, NAME))


def park(world: KernelHarness, *numbers: int) -> list[LogPosition]:
    """Let the handler park these sagas' commands; return where, in the sagas' order."""
    world.handler.parks = {saga_id(n) for n in numbers}
    world.send(*numbers)
    world.manager.run_once(0)
    settle(world)
    places = {row.saga_id: row.place for row in world.rows("parked").values()}
    return [places[saga_id(n)] for n in numbers]


def settle(world: KernelHarness) -> None:
    world.manager.run_once(0)
    while world.relay.run_once(0) or world.manager.run_once(0):
        pass


def statuses(world: KernelHarness) -> list[tuple[str, str | None]]:
    return [(row.status, row.outcome) for row in world.rows("parked").values()]


def actions(world: KernelHarness) -> list[tuple[str, ...]]:
    return [tuple(action) for _, action in world.rows("operator_actions").values()]


def test_a_redriven_message_is_processed_as_it_was_and_never_published_again(
    world: KernelHarness, dead_letters: DeadLetters
) -> None:
    [place] = park(world, 1)
    world.handler.parks = set()
    assert dead_letters.redrive([place], BECAUSE).done == [place]
    assert statuses(world) == [("redriven", None)]
    settle(world)
    assert len(world.on_topic(INVENTORY_COMMANDS)) == 1
    assert world.rows("seen") == {saga_id(1): 2}
    assert statuses(world) == [("redriven", "processed")]
    assert actions(world) == [("olga", "dlq_redriven", str(place), "the bug is mended")]


def test_a_second_redrive_does_nothing(world: KernelHarness, dead_letters: DeadLetters) -> None:
    [place] = park(world, 1)
    dead_letters.redrive([place, place], BECAUSE)
    again = dead_letters.redrive([place], BECAUSE)
    assert (again.done, again.skipped) == ([], [(place, "redriven")])
    assert dead_letters.discard([place], BECAUSE).skipped == [(place, "redriven")]
    world.handler.parks = set()
    settle(world)
    assert dead_letters.redrive([place], BECAUSE).skipped == [(place, "redriven")]
    settle(world)
    assert world.rows("seen") == {saga_id(1): 2}
    assert len(actions(world)) == 1


def test_what_is_parked_again_says_so_and_can_be_redriven_again(
    world: KernelHarness, dead_letters: DeadLetters
) -> None:
    [place] = park(world, 1)
    for attempts in (2, 3):
        assert dead_letters.redrive([place], BECAUSE).done == [place]
        settle(world)
        assert statuses(world) == [("parked", "parked_again")]
        assert world.rows("parked")[place].attempts == attempts
    assert len(world.on_topic(f"{INVENTORY_COMMANDS}.dlq")) == 3
    world.handler.parks = set()
    assert dead_letters.redrive([place], BECAUSE).done == [place]
    assert statuses(world) == [("redriven", None)], "what was known before is no outcome of this one"
    settle(world)
    assert statuses(world) == [("redriven", "processed")]


def test_a_bug_parks_the_one_redriven_message_that_meets_it(
    world: KernelHarness, dead_letters: DeadLetters
) -> None:
    places = park(world, *range(8))
    world.handler.parks, world.handler.bugs = set(), {saga_id(3)}
    dead_letters.redrive(places, BECAUSE)
    with capture_logs():
        settle(world)
    rows = world.rows("parked")
    assert {rows[place].outcome for place in places if place != places[3]} == {"processed"}
    sick = rows[places[3]]
    assert (sick.status, sick.outcome, sick.reason) == ("parked", "parked_again", "handler_failed")


def test_trouble_leaves_a_redriven_message_to_the_next_round(
    world: KernelHarness, dead_letters: DeadLetters
) -> None:
    [place] = park(world, 1)
    world.handler.parks, world.handler.unavailable = set(), 2
    dead_letters.redrive([place], BECAUSE)
    for _ in range(2):
        world.manager.hurry(NAME)
        world.manager.run_once(0)
        assert statuses(world) == [("redriven", None)]
    world.manager.hurry(NAME)
    settle(world)
    assert statuses(world) == [("redriven", "processed")]


def test_line_37_a_redriven_message_whose_source_was_refused_is_refused_again(
    world: KernelHarness, dead_letters: DeadLetters
) -> None:
    world.bus.of(ORDER).publisher().publish([command(1)])
    world.bus.publisher().publish([command(2)])
    settle(world)
    reasons = {row.saga_id: (row.reason, row.record.source) for row in world.rows("parked").values()}
    assert reasons == {saga_id(1): ("wrong_source", ORDER), saga_id(2): ("unproven_source", None)}
    dead_letters.redrive(list(world.rows("parked")), BECAUSE)
    settle(world)
    assert statuses(world) == [("parked", "parked_again")] * 2
    again = {row.saga_id: (row.reason, row.record.source) for row in world.rows("parked").values()}
    assert again == reasons
    assert not world.rows("seen")
    assert world.processor.refused == {"wrong_source": 2, "unproven_source": 2}


def test_line_29_a_redriven_message_that_kills_the_process_is_parked_at_the_fifth_start(
    world: KernelHarness, dead_letters: DeadLetters
) -> None:
    class Killed(BaseException):
        """Ends the process in the middle of a batch."""

    places = park(world, 1, 2, 3)
    world.handler.parks = set()
    dead_letters.redrive(places, BECAUSE)
    sound = world.handler.handle

    def handle(tx: Any, envelopes: Sequence[Envelope]) -> HandlerResult:
        if saga_id(2) in {envelope.saga_id for envelope in envelopes}:
            raise Killed
        return sound(tx, envelopes)

    world.handler.handle = handle  # type: ignore[method-assign]
    deaths = 0
    for _ in range(20):
        manager = world.new_manager([Redriver().periodic_task()])
        try:
            manager.run_once(0)
        except Killed:
            deaths += 1
    killer = next(row for row in world.rows("parked").values() if row.saga_id == saga_id(2))
    assert (killer.status, killer.outcome, killer.reason) == ("parked", "parked_again", "kills_the_process")
    others = {row.outcome for row in world.rows("parked").values() if row.saga_id != saga_id(2)}
    assert others == {"processed"}
    assert deaths < 12


def test_a_discarded_message_stays_where_it_is(world: KernelHarness, dead_letters: DeadLetters) -> None:
    [place] = park(world, 1)
    assert dead_letters.discard([place], BECAUSE).done == [place]
    settle(world)
    assert statuses(world) == [("discarded", None)]
    assert len(world.on_topic(INVENTORY_COMMANDS)) == 1
    assert actions(world) == [("olga", "dlq_discarded", str(place), "the bug is mended")]
    assert dead_letters.redrive([place], BECAUSE).skipped == [(place, "discarded")]
    assert dead_letters.show(place) is not None


def test_what_is_not_there_is_left_and_said(world: KernelHarness, dead_letters: DeadLetters) -> None:
    nowhere = LogPosition(INVENTORY_COMMANDS, 0, 99)
    acted = dead_letters.redrive([nowhere], BECAUSE)
    assert acted.skipped == [(nowhere, "missing")]
    assert not actions(world)


def test_many_are_redriven_in_small_transactions_and_go_on_after_a_crash(
    world: KernelHarness, dead_letters: DeadLetters
) -> None:
    places = park(world, *range(25))
    world.handler.parks = set()
    dead_letters.redrive(places[:ROWS_PER_TRANSACTION], BECAUSE)
    acted = dead_letters.redrive(places, BECAUSE)
    assert len(acted.done) == 15
    assert len(acted.skipped) == ROWS_PER_TRANSACTION
    batches = len(world.handler.batches)
    settle(world)
    assert statuses(world) == [("redriven", "processed")] * 25
    assert world.handler.batches[batches:] == [ROWS_MAX, ROWS_MAX, 5]


def test_pages_follow_each_other_and_filters_choose(world: KernelHarness, dead_letters: DeadLetters) -> None:
    park(world, *range(9))
    pages, after = [], None
    while page := dead_letters.find(EVERYTHING, after, 4):
        pages.append(len(page))
        after = page[-1].place
    assert pages == [4, 4, 1]
    assert len(dead_letters.find(DeadLetterFilter(saga_id=saga_id(3)), None, 10)) == 1
    assert (
        len(dead_letters.find(DeadLetterFilter(status="parked", reason="impossible_command"), None, 10)) == 9
    )
    assert not dead_letters.find(DeadLetterFilter(status="redriven"), None, 10)
    assert not dead_letters.find(DeadLetterFilter(topic="other"), None, 10)


@pytest.mark.parametrize("row", [LogPosition("checkout.cart-command", 3, 12_345)])
def test_a_place_is_read_as_it_is_written(row: LogPosition) -> None:
    assert LogPosition.parse(str(row)) == row
    for wrong in (
        "",
        "a/b/c",
        "t/1",
        "t/1/2/3",
        "t/-1/2",
        "t/1/2\n",
        f"{row} ",
        "t\x00/1/2",
        "t/1/" + "9" * 19,
    ):
        assert LogPosition.parse(wrong) is None


def test_parked_rows_have_no_place_twice(world: KernelHarness) -> None:
    [place] = park(world, 1)
    row = world.rows("parked")[place]
    assert isinstance(row, ParkedRecord)
    assert (row.first_ms, row.last_ms) == (world.clock.now_ms, world.clock.now_ms)
    world.clock.now_ms += 1_000
    world.processor.park(row.record, row.reason, row.detail)
    again = world.rows("parked")[place]
    assert (again.attempts, again.last_ms - again.first_ms) == (2, 1_000)


def test_what_is_kept_masked_is_never_sent_again_and_can_be_given_up(
    world: KernelHarness, dead_letters: DeadLetters
) -> None:
    spoilt = record(5, 5)._replace(headers=(*record(5, 5).headers, ("x-note", b"4111111111111111")))
    world.processor.run([spoilt])
    place = LogPosition(INVENTORY_COMMANDS, 0, 5)
    again = dead_letters.redrive([place], BECAUSE)
    assert (again.done, again.skipped) == ([], [(place, "card_number")])
    assert dead_letters.discard([place], BECAUSE).done == [place]
