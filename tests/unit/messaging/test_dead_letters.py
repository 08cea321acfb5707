"""Operators' acts on parked records: repeatable, logged, and what comes of a redriven one is known."""

import pytest
from tests.samples import saga_id
from tests.unit.messaging.world import World, command, record

from holdfast.bus.port import RECORD_BYTES_MAX
from holdfast.contracts.topics import INVENTORY_COMMANDS
from holdfast.messaging.dead_letters import ROWS_PER_TRANSACTION, Because, DeadLetters
from holdfast.messaging.parked import REDRIVEN_FROM, Parked, Place, Wanted

BECAUSE = Because("olga", "the bug is mended")
EVERYTHING = Wanted()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def dead_letters(world: World) -> DeadLetters:
    return DeadLetters(world.unit_of_work, world.relay)


def park(world: World, *numbers: int) -> list[Place]:
    """Let the handler park these sagas' commands; return where, in the sagas' order."""
    world.handler.parks = {saga_id(n) for n in numbers}
    world.send(*numbers)
    world.manager.step(0)
    settle(world)
    places = {row.saga_id: row.place for row in world.rows("parked").values()}
    return [places[saga_id(n)] for n in numbers]


def settle(world: World) -> None:
    while world.relay.step(0) or world.manager.step(0):
        pass


def statuses(world: World) -> list[tuple[str, str | None]]:
    return [(row.status, row.outcome) for row in world.rows("parked").values()]


def actions(world: World) -> list[tuple[str, ...]]:
    return [tuple(action) for _, action in world.rows("operator_actions").values()]


def test_a_redriven_message_is_the_original_with_one_header_more(
    world: World, dead_letters: DeadLetters
) -> None:
    [place] = park(world, 1)
    world.handler.parks = set()
    assert dead_letters.redrive([place], BECAUSE).done == [place]
    settle(world)
    original, again = world.on_topic(INVENTORY_COMMANDS)
    assert again[3:5] == original[3:5]
    assert again.headers == (*original.headers, (REDRIVEN_FROM, str(place).encode()))
    assert world.rows("seen") == {saga_id(1): 2}
    assert statuses(world) == [("redriven", "processed")]
    assert actions(world) == [("olga", "dlq_redriven", str(place), "the bug is mended")]


def test_a_second_redrive_does_nothing(world: World, dead_letters: DeadLetters) -> None:
    [place] = park(world, 1)
    dead_letters.redrive([place, place], BECAUSE)
    again = dead_letters.redrive([place], BECAUSE)
    assert (again.done, again.skipped) == ([], [(place, "redriven")])
    assert dead_letters.discard([place], BECAUSE).skipped == [(place, "redriven")]
    settle(world)
    assert len(world.on_topic(INVENTORY_COMMANDS)) == 2
    assert len(actions(world)) == 1


def test_what_is_parked_again_is_linked_to_where_it_came_from(
    world: World, dead_letters: DeadLetters
) -> None:
    [first] = park(world, 1)
    dead_letters.redrive([first], BECAUSE)
    settle(world)
    [second] = [row.place for row in dead_letters.find(EVERYTHING, None, 10) if row.place != first]
    dead_letters.redrive([second], BECAUSE)
    settle(world)
    rows = {row.place: row for row in dead_letters.find(EVERYTHING, None, 10)}
    assert [rows[place].outcome for place in (first, second)] == ["parked_again", "parked_again"]
    [third] = set(rows) - {first, second}
    assert [rows[place].redriven_from for place in (first, second, third)] == [None, str(first), str(second)]
    shown = dead_letters.show(third)
    assert shown is not None
    assert [name for name, _ in shown.record.headers].count(REDRIVEN_FROM) == 1


def test_a_bug_that_parks_a_redriven_message_again_is_linked_too(
    world: World, dead_letters: DeadLetters
) -> None:
    [place] = park(world, 1)
    world.handler.parks, world.handler.bugs = set(), {saga_id(1)}
    dead_letters.redrive([place], BECAUSE)
    settle(world)
    assert statuses(world) == [("redriven", "parked_again"), ("parked", None)]


def test_a_discarded_message_stays_where_it_is(world: World, dead_letters: DeadLetters) -> None:
    [place] = park(world, 1)
    assert dead_letters.discard([place], BECAUSE).done == [place]
    settle(world)
    assert statuses(world) == [("discarded", None)]
    assert len(world.on_topic(INVENTORY_COMMANDS)) == 1
    assert actions(world) == [("olga", "dlq_discarded", str(place), "the bug is mended")]
    assert dead_letters.redrive([place], BECAUSE).skipped == [(place, "discarded")]
    assert dead_letters.show(place) is not None


def test_what_is_not_there_or_too_large_is_left_and_said(world: World, dead_letters: DeadLetters) -> None:
    large = record(1, 7)._replace(value=b"x" * (RECORD_BYTES_MAX - 200))
    world.unit_of_work.park(large, "too_large", "for the test")
    nowhere, there = Place(INVENTORY_COMMANDS, 0, 99), Place(INVENTORY_COMMANDS, 0, 7)
    acted = dead_letters.redrive([nowhere, there], BECAUSE)
    assert acted.skipped == [(nowhere, "missing"), (there, "too_large")]
    assert statuses(world) == [("parked", None)]
    assert not actions(world)


def test_many_are_redriven_in_small_transactions_and_go_on_after_a_crash(
    world: World, dead_letters: DeadLetters
) -> None:
    places = park(world, *range(25))
    batches = len(world.rows("outbox"))
    dead_letters.redrive(places[:ROWS_PER_TRANSACTION], BECAUSE)
    acted = dead_letters.redrive(places, BECAUSE)
    assert len(acted.done) == 15
    assert len(acted.skipped) == ROWS_PER_TRANSACTION
    assert len(world.rows("outbox")) == batches + 3
    settle(world)
    sent = [dict(each.headers).get(REDRIVEN_FROM) for each in world.on_topic(INVENTORY_COMMANDS)]
    assert sorted(link for link in sent if link) == sorted(str(place).encode() for place in places)


def test_a_message_that_lies_about_its_past_changes_nothing(world: World, dead_letters: DeadLetters) -> None:
    [place] = park(world, 1)
    for link in (str(place).encode(), b"\xff", b"a/b/c", b"x" * 5_000):
        message = command(2)
        world.bus.publisher().publish([message._replace(headers=(*message.headers, (REDRIVEN_FROM, link)))])
    settle(world)
    assert statuses(world) == [("parked", None)]
    assert world.rows("seen")[saga_id(2)] == 4


def test_pages_follow_each_other_and_filters_choose(world: World, dead_letters: DeadLetters) -> None:
    park(world, *range(9))
    pages, after = [], None
    while page := dead_letters.find(EVERYTHING, after, 4):
        pages.append(len(page))
        after = page[-1].place
    assert pages == [4, 4, 1]
    assert len(dead_letters.find(Wanted(saga_id=saga_id(3)), None, 10)) == 1
    assert len(dead_letters.find(Wanted(status="parked", reason="impossible_command"), None, 10)) == 9
    assert not dead_letters.find(Wanted(status="redriven"), None, 10)
    assert not dead_letters.find(Wanted(topic="other"), None, 10)


@pytest.mark.parametrize("row", [Place("checkout.cart-command", 3, 12_345)])
def test_a_place_is_read_as_it_is_written(row: Place) -> None:
    assert Place.parse(str(row)) == row
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
        assert Place.parse(wrong) is None


def test_parked_rows_have_no_place_twice(world: World) -> None:
    [place] = park(world, 1)
    row = world.rows("parked")[place]
    assert isinstance(row, Parked)
    assert (row.first_ms, row.last_ms) == (world.clock.now_ms, world.clock.now_ms)
    world.clock.now_ms += 1_000
    world.unit_of_work.park(row.record, row.reason, row.detail)
    again = world.rows("parked")[place]
    assert (again.attempts, again.last_ms - again.first_ms) == (2, 1_000)


def test_what_is_kept_masked_is_never_sent_again_and_can_be_given_up(
    world: World, dead_letters: DeadLetters
) -> None:
    spoilt = record(5, 5)._replace(headers=(*record(5, 5).headers, ("x-note", b"4111111111111111")))
    world.unit_of_work.run([spoilt])
    place = Place(INVENTORY_COMMANDS, 0, 5)
    again = dead_letters.redrive([place], BECAUSE)
    assert (again.done, again.skipped) == ([], [(place, "card_number")])
    assert dead_letters.discard([place], BECAUSE).done == [place]
