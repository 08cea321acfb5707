"""The fence: one row per (saga, step) that makes every command safe to repeat, reorder or arrive late.

One pure, total function for all participants. After Seata's TCC fence; the table stands in docs/reference.
"""

from enum import StrEnum
from typing import NamedTuple


class FenceState(StrEnum):
    """Where a step of one saga stands at its participant."""

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
    """One row. `reply` is the answer to a do (its type and encoded payload), kept for every repeat.

    `submitted`: the outside world may have heard of it (payment only).
    """

    saga_id: str
    state: FenceState
    reply_kind: str = ""
    reply: bytes = b""
    submitted: bool = False
    undo_requested: bool = False


class Act(StrEnum):
    """What a participant does with a command; the kernel turns each into writes in one place."""

    RUN = "run"  # the business function: DONE, REFUSED or (payment) RUNNING
    INVERT = "invert"  # the inverse: UNDONE or (payment) UNDOING
    CONFIRM = "confirm"  # CONFIRMED, no answer
    REPEAT = "repeat"  # the stored answer again
    ANSWER_UNDONE = "answer_undone"  # compensated, nothing written
    TOMBSTONE = "tombstone"  # written before the do came; compensated
    REQUEST_UNDO = "request_undo"  # remembered; answered when the unknown is resolved
    SILENT = "silent"
    PARK = "park"  # cannot happen in a sound system: an operator looks


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
