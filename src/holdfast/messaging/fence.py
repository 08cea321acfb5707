"""The fence: one row per (saga, step). It makes every command safe to repeat, to reorder or to deliver late.

`act` is one pure, total function for all participants, after Seata's TCC fence; docs/reference has its table.
"""

from enum import StrEnum
from typing import NamedTuple


class FenceState(StrEnum):
    """The state of one saga's step at its participant."""

    RUNNING = "RUNNING"
    DONE = "DONE"
    REFUSED = "REFUSED"
    UNDOING = "UNDOING"
    UNDONE = "UNDONE"
    TOMBSTONE = "TOMBSTONE"
    CONFIRMED = "CONFIRMED"


class Verb(StrEnum):
    """What a command asks of a participant."""

    DO = "do"
    UNDO = "undo"
    CONFIRM = "confirm"


class Fence(NamedTuple):
    """One row. `reply_kind` and `reply` (encoded) are the answer to the do, kept for every repeat.

    `submitted`: the provider may have heard of it (payment only).
    """

    saga_id: str
    state: FenceState
    reply_kind: str = ""
    reply: bytes = b""
    submitted: bool = False
    undo_requested: bool = False


class Act(StrEnum):
    """What a participant does with a command; `participant.py` turns each act into writes."""

    RUN = "run"  # call the business function: DONE, REFUSED or (payment) RUNNING
    INVERT = "invert"  # call its inverse: UNDONE or (payment) UNDOING
    CONFIRM = "confirm"  # CONFIRMED; no reply
    REPEAT = "repeat"  # send the stored reply again
    ANSWER_UNDONE = "answer_undone"  # reply "compensated"; write nothing
    TOMBSTONE = "tombstone"  # the undo came before an effect: write the tombstone, reply "compensated"
    REQUEST_UNDO = "request_undo"  # note it; reply once the provider's answer is definitive
    SILENT = "silent"  # write nothing, send nothing
    PARK = "park"  # impossible unless something is broken: an operator must look


_TABLE: dict[FenceState, dict[Verb, Act]] = {
    FenceState.RUNNING: {Verb.DO: Act.SILENT, Verb.UNDO: Act.REQUEST_UNDO, Verb.CONFIRM: Act.PARK},
    FenceState.DONE: {Verb.DO: Act.REPEAT, Verb.UNDO: Act.INVERT, Verb.CONFIRM: Act.CONFIRM},
    FenceState.REFUSED: {Verb.DO: Act.REPEAT, Verb.UNDO: Act.ANSWER_UNDONE, Verb.CONFIRM: Act.PARK},
    FenceState.UNDOING: {Verb.DO: Act.SILENT, Verb.UNDO: Act.SILENT, Verb.CONFIRM: Act.PARK},
    FenceState.UNDONE: {Verb.DO: Act.ANSWER_UNDONE, Verb.UNDO: Act.ANSWER_UNDONE, Verb.CONFIRM: Act.PARK},
    FenceState.TOMBSTONE: {Verb.DO: Act.ANSWER_UNDONE, Verb.UNDO: Act.ANSWER_UNDONE, Verb.CONFIRM: Act.PARK},
    FenceState.CONFIRMED: {Verb.DO: Act.REPEAT, Verb.UNDO: Act.PARK, Verb.CONFIRM: Act.SILENT},
}
_NO_ROW = {Verb.DO: Act.RUN, Verb.UNDO: Act.TOMBSTONE, Verb.CONFIRM: Act.PARK}


def act(fence: Fence | None, verb: Verb) -> Act:
    """Return what to do with a command for this row. Total over all states and verbs."""
    if fence is None:
        return _NO_ROW[verb]
    if fence.state is FenceState.RUNNING and verb is Verb.UNDO and not fence.submitted:
        return Act.TOMBSTONE
    return _TABLE[fence.state][verb]
