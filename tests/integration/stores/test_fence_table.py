"""The fence's whole table on real PostgreSQL, at each participant: row, command -> row, facts, answer.

Expectations are written by hand from the protocol; a cell that is not there fails.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import pytest
from tests.integration.stores.fence_rows import (
    CLAIM,
    CONFIRM,
    DO,
    RESOLVE,
    UNDO,
    Answered,
    OnPostgres,
)
from tests.integration.stores.fence_services import Participant, connect

from holdfast.contracts.messages import ClearCart, Line, Payload
from holdfast.contracts.topics import EVENTS
from holdfast.local.postgres import EmbeddedPostgres
from holdfast.messaging.fence import FenceState
from holdfast.sagas.checkout import CHECKOUT

SUBMITTED = "RUNNING submitted"
ASKED = "RUNNING submitted undo_requested"

REACHED_BY: dict[str, tuple[str, ...]] = {
    "none": (),
    "RUNNING": (DO,),
    SUBMITTED: (DO, CLAIM),
    ASKED: (DO, CLAIM, UNDO),
    "DONE": (DO,),
    "REFUSED": (DO,),
    "UNDOING": (DO, RESOLVE, UNDO),
    "UNDONE": (DO, UNDO),
    "TOMBSTONE": (UNDO,),
    "CONFIRMED": (DO, CONFIRM),
}
REACHED_BY_PAYMENT = REACHED_BY | {
    "DONE": (DO, RESOLVE),
    "REFUSED": (DO, RESOLVE),
    "UNDONE": (DO, RESOLVE, UNDO, RESOLVE),
    "CONFIRMED": (DO, RESOLVE, CONFIRM),
}


class Cell(NamedTuple):
    """The row afterwards, and the answer: done, failed, undone, parked, or none."""

    after: str
    answer: str = ""


AT_ONCE = {
    ("none", DO): Cell("DONE", "done"),
    ("none", UNDO): Cell("TOMBSTONE", "undone"),
    ("none", CONFIRM): Cell("none", "parked"),
    ("DONE", DO): Cell("DONE", "done"),
    ("DONE", UNDO): Cell("UNDONE", "undone"),
    ("DONE", CONFIRM): Cell("CONFIRMED"),
    ("REFUSED", DO): Cell("REFUSED", "failed"),
    ("REFUSED", UNDO): Cell("REFUSED", "undone"),
    ("REFUSED", CONFIRM): Cell("REFUSED", "parked"),
    ("UNDONE", DO): Cell("UNDONE", "undone"),
    ("UNDONE", UNDO): Cell("UNDONE", "undone"),
    ("UNDONE", CONFIRM): Cell("UNDONE", "parked"),
    ("TOMBSTONE", DO): Cell("TOMBSTONE", "undone"),
    ("TOMBSTONE", UNDO): Cell("TOMBSTONE", "undone"),
    ("TOMBSTONE", CONFIRM): Cell("TOMBSTONE", "parked"),
    ("CONFIRMED", DO): Cell("CONFIRMED", "done"),
    ("CONFIRMED", UNDO): Cell("CONFIRMED", "parked"),
    ("CONFIRMED", CONFIRM): Cell("CONFIRMED"),
}
PAYMENT = AT_ONCE | {
    ("none", DO): Cell("RUNNING"),
    ("DONE", UNDO): Cell("UNDOING"),
    ("RUNNING", DO): Cell("RUNNING"),
    ("RUNNING", UNDO): Cell("TOMBSTONE", "undone"),
    ("RUNNING", CONFIRM): Cell("RUNNING", "parked"),
    (SUBMITTED, DO): Cell(SUBMITTED),
    (SUBMITTED, UNDO): Cell(ASKED),
    (SUBMITTED, CONFIRM): Cell(SUBMITTED, "parked"),
    (ASKED, DO): Cell(ASKED),
    (ASKED, UNDO): Cell(ASKED),
    (ASKED, CONFIRM): Cell(ASKED, "parked"),
    ("UNDOING", DO): Cell("UNDOING"),
    ("UNDOING", UNDO): Cell("UNDOING"),
    ("UNDOING", CONFIRM): Cell("UNDOING", "parked"),
}
CART = {cell: AT_ONCE[cell] for cell in (("none", DO), ("DONE", DO), ("REFUSED", DO))}
TABLES = {"inventory": AT_ONCE, "payment": PAYMENT, "order": AT_ONCE, "cart": CART}

CELLS = [
    pytest.param(name, row, verb, id=f"{name}-{row.replace(' ', '_')}-{verb}")
    for name, table in TABLES.items()
    for row, verb in table
]
IN_ONE_BATCH = [
    pytest.param(name, row, verb, id=f"{name}-{row}-{verb}")
    for name, table in TABLES.items()
    for row, verb in table
    if not {CLAIM, RESOLVE} & set((REACHED_BY_PAYMENT if name == "payment" else REACHED_BY)[row])
]


@pytest.fixture(scope="module")
def participants(postgres: EmbeddedPostgres) -> Iterator[dict[str, Participant]]:
    """All four, each on a database of its own."""
    with connect(postgres) as participants:
        yield participants


def test_no_cell_is_missing() -> None:
    assert {row.partition(" ")[0] for row in REACHED_BY} == {"none", *FenceState}
    verbs = {DO, UNDO, CONFIRM}
    at_once = [row for row in REACHED_BY if row.partition(" ")[0] not in ("RUNNING", "UNDOING")]
    assert set(AT_ONCE) == set(product(at_once, verbs))
    assert set(PAYMENT) == set(product(REACHED_BY, verbs))
    assert set(CART) == set(product(("none", "DONE", "REFUSED"), [DO]))
    assert [step for step in CHECKOUT.step_named if step not in TABLES] == []


@pytest.mark.parametrize(("name", "row", "verb"), CELLS)
def test_cell(participants: dict[str, Participant], name: str, row: str, verb: str) -> None:
    participant, cell = participants[name], TABLES[name][row, verb]
    on, saga = participant.on, participant.on.new_saga()
    command = participant.command(saga, refused=row == "REFUSED")
    heard = _reach(on, saga, command, name, row)
    assert on.fence(saga) == row
    assert participant.facts(saga) == participant.expected(saga, row)

    answers = on.run([on.record(saga, verb, command)])
    assert on.fence(saga) == cell.after
    assert participant.facts(saga) == participant.expected(saga, cell.after, before=row)
    assert answers == _expected_answers(on, saga, cell, answers, heard)
    assert on.parked(saga) == (["impossible_command"] if cell.answer == "parked" else [])


@pytest.mark.parametrize(("name", "row", "verb"), IN_ONE_BATCH)
def test_cell_reached_and_met_in_one_batch(
    participants: dict[str, Participant], name: str, row: str, verb: str
) -> None:
    participant, cell = participants[name], TABLES[name][row, verb]
    on, saga = participant.on, participant.on.new_saga()
    command = participant.command(saga, refused=row == "REFUSED")
    steps = (REACHED_BY_PAYMENT if name == "payment" else REACHED_BY)[row]
    answers = on.run([on.record(saga, each, command) for each in (*steps, verb)])
    assert on.fence(saga) == cell.after
    assert participant.facts(saga) == participant.expected(saga, cell.after, before=row)
    last = answers[-1:] if cell.answer else []
    assert last == _expected_answers(on, saga, cell, last, answers[:-1])


@pytest.mark.parametrize("name", ["inventory", "payment", "order"])
def test_a_do_after_its_last_moment_is_refused_and_stays_refused(
    participants: dict[str, Participant], name: str
) -> None:
    participant = participants[name]
    on, saga = participant.on, participant.on.new_saga()
    command = participant.command(saga, refused=False, not_after_ms=1)
    for _ in range(2):
        [answer] = on.run([on.record(saga, DO, command)])
        assert (answer.message_id, answer.kind) == (f"{saga}:{on.step}:failed", on.messages.failed)
        assert b'"expired"' in (answer.value or b"")
        assert on.fence(saga) == "REFUSED"
        assert participant.facts(saga) == participant.expected(saga, "none")


@pytest.mark.parametrize("refused", [False, True])
def test_a_payment_asked_to_be_undone_while_it_is_unknown_is_answered_once_it_is_known(
    participants: dict[str, Participant], *, refused: bool
) -> None:
    """Declined answers failed and compensated; charged is refunded first, and says nothing of its charge."""
    participant = participants["payment"]
    on, saga = participant.on, participant.on.new_saga()
    command = participant.command(saga, refused=refused)
    on.run([on.record(saga, DO, command)])
    on.resolve(record=False)
    assert on.run([on.record(saga, UNDO, command)]) == []
    _let_leases_expire(on, saga)
    answers = [answer.kind for answer in on.resolve(record=True) if answer.message_id.startswith(saga)]
    if refused:
        assert answers == ["PaymentFailed", "PaymentCompensated"]
        assert participant.facts(saga) == participant.expected(saga, "REFUSED")
        return
    assert answers == []
    assert on.fence(saga) == "UNDOING"
    answers = [answer.kind for answer in on.resolve(record=True) if answer.message_id.startswith(saga)]
    assert answers == ["PaymentCompensated"]
    assert participant.facts(saga) == participant.expected(saga, "UNDONE")


def test_a_cart_that_is_gone_counts_as_cleared(participants: dict[str, Participant]) -> None:
    on = participants["cart"].on
    saga = on.new_saga()
    command = ClearCart("ada", saga, 7, (Line("A", 2, 100),))
    first, again = (on.run([on.record(saga, DO, command)]) for _ in range(2))
    assert [(answer.kind, answer.value) for answer in first] == [
        ("CartCleared", b'{"version_left":7,"cart_version":7}')
    ]
    assert again == first
    assert on.fence(saga) == "DONE"
    assert participants["cart"].facts(saga) == ([], 1)


@pytest.mark.parametrize("held", [False, True])
def test_a_cart_is_judged_once_whatever_happens_to_it_afterwards(
    participants: dict[str, Participant], *, held: bool
) -> None:
    """Cleared stays cleared under a later hold, refused stays refused after its release."""
    on = participants["cart"].on
    saga = on.new_saga()
    command = participants["cart"].command(saga, refused=held)
    first = on.run([on.record(saga, DO, command)])
    with on.store.transaction() as tx:
        tx.hold_cart((saga, "ada"), "" if held else "a check")
    assert on.run([on.record(saga, DO, command)]) == first
    assert participants["cart"].facts(saga) == participants["cart"].expected(
        saga, "REFUSED" if held else "DONE"
    )


def test_a_repeat_takes_nothing_of_what_the_shopper_added_since(participants: dict[str, Participant]) -> None:
    on = participants["cart"].on
    saga = on.new_saga()
    command = participants["cart"].command(saga, refused=False)
    first = on.run([on.record(saga, DO, command)])
    with on.store.transaction() as tx:
        (cart,) = tx.lock_carts([(saga, "ada")]).values()
        tx.save_carts([cart._replace(version=3, pieces=(("A", 9),))])
    assert on.run([on.record(saga, DO, command)]) == first
    assert participants["cart"].facts(saga) == ([(3, (("A", 9),))], 1)


def _reach(on: OnPostgres, saga: str, command: Payload, name: str, row: str) -> list[Answered]:
    """Bring the saga to its row, a transaction a step; return all that was answered on the way."""
    heard: list[Answered] = []
    for step in (REACHED_BY_PAYMENT if name == "payment" else REACHED_BY)[row]:
        if step in (CLAIM, RESOLVE):
            heard += on.resolve(record=step == RESOLVE)
        else:
            heard += on.run([on.record(saga, step, command)])
    return [answer for answer in heard if answer.message_id.startswith(saga)]


def _expected_answers(
    on: OnPostgres, saga: str, cell: Cell, answers: list[Answered], heard: list[Answered]
) -> list[Answered]:
    """Return what must be answered: the very same message again, where it was answered before."""
    if not cell.answer:
        return []
    if cell.answer == "parked":
        return [next(answer for answer in answers if answer.is_dead_letter)]
    names = {"done": on.messages.done, "failed": on.messages.failed, "undone": on.messages.undone}
    kind, suffix = names[cell.answer], "compensated" if cell.answer == "undone" else cell.answer
    value = next((was.value for was in heard if was.kind == kind), None)
    if value is None:
        value = b"{}" if cell.answer == "undone" else (answers[0].value if answers else None)
    return [Answered(f"{saga}:{on.step}:{suffix}", kind, value, EVENTS)]


def _let_leases_expire(on: OnPostgres, saga: str) -> None:
    with on.store.transaction() as tx:
        tx.write("update timers set due_ms = 0 where saga_id = %(saga)s", saga=saga)
