"""The fence's table, every cell, against an expectation written by hand from the protocol."""

from itertools import product

import pytest
from tests.samples import SAGA

from holdfast.messaging.fence import Act, Fence, FenceState, Verb, act

DO, UNDO, CONFIRM = Verb.DO, Verb.UNDO, Verb.CONFIRM

# Row (None: there is none; the flag: submitted) and verb -> act.
BY_HAND: dict[tuple[FenceState | None, bool, Verb], Act] = {
    (None, False, DO): Act.RUN,
    (None, False, UNDO): Act.TOMBSTONE,
    (None, False, CONFIRM): Act.PARK,
    (FenceState.RUNNING, False, DO): Act.SILENT,
    (FenceState.RUNNING, False, UNDO): Act.TOMBSTONE,
    (FenceState.RUNNING, False, CONFIRM): Act.PARK,
    (FenceState.RUNNING, True, DO): Act.SILENT,
    (FenceState.RUNNING, True, UNDO): Act.REQUEST_UNDO,
    (FenceState.RUNNING, True, CONFIRM): Act.PARK,
    (FenceState.DONE, False, DO): Act.REPEAT,
    (FenceState.DONE, False, UNDO): Act.INVERT,
    (FenceState.DONE, False, CONFIRM): Act.CONFIRM,
    (FenceState.REFUSED, False, DO): Act.REPEAT,
    (FenceState.REFUSED, False, UNDO): Act.ANSWER_UNDONE,
    (FenceState.REFUSED, False, CONFIRM): Act.PARK,
    (FenceState.UNDOING, False, DO): Act.SILENT,
    (FenceState.UNDOING, False, UNDO): Act.SILENT,
    (FenceState.UNDOING, False, CONFIRM): Act.PARK,
    (FenceState.UNDONE, False, DO): Act.ANSWER_UNDONE,
    (FenceState.UNDONE, False, UNDO): Act.ANSWER_UNDONE,
    (FenceState.UNDONE, False, CONFIRM): Act.PARK,
    (FenceState.TOMBSTONE, False, DO): Act.ANSWER_UNDONE,
    (FenceState.TOMBSTONE, False, UNDO): Act.ANSWER_UNDONE,
    (FenceState.TOMBSTONE, False, CONFIRM): Act.PARK,
    (FenceState.CONFIRMED, False, DO): Act.REPEAT,
    (FenceState.CONFIRMED, False, UNDO): Act.PARK,
    (FenceState.CONFIRMED, False, CONFIRM): Act.SILENT,
}
# Only a running step cares whether it was submitted.
BY_HAND |= {
    (state, True, verb): expected
    for (state, _, verb), expected in list(BY_HAND.items())
    if state not in (None, FenceState.RUNNING)
}


def test_the_list_has_every_cell() -> None:
    rows = [(None, False), *product(FenceState, (False, True))]
    assert set(BY_HAND) == {(state, submitted, verb) for (state, submitted), verb in product(rows, Verb)}


@pytest.mark.parametrize(("cell", "expected"), BY_HAND.items(), ids=str)
def test_cell(cell: tuple[FenceState | None, bool, Verb], expected: Act) -> None:
    state, submitted, verb = cell
    fence = None if state is None else Fence(SAGA, state, submitted=submitted)
    assert act(fence, verb) is expected


@pytest.mark.parametrize("verb", Verb)
def test_a_requested_undo_does_not_change_what_a_running_step_does(verb: Verb) -> None:
    plain = Fence(SAGA, FenceState.RUNNING, submitted=True)
    assert act(plain._replace(undo_requested=True), verb) is act(plain, verb)
