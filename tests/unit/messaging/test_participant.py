"""Behind the fence: what each act writes and answers, in one batch or in many."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.samples import NOT_AFTER_MS, SAMPLES, saga_id
from tests.unit.messaging.kernel_harness import Clock

from holdfast.contracts.messages import InventoryReserved, Payload, Refused
from holdfast.contracts.steps import CART_STEP, StepMessages
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.fence import Fence, FenceState
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.memory_store import MemoryStore, MemoryTransaction
from holdfast.messaging.participant import (
    CommandWork,
    Done,
    ParticipantHandler,
    Running,
    StepResult,
)
from holdfast.services.inventory_write.handlers import MESSAGES

KINDS = {"do": "ReserveInventory", "undo": "CompensateInventory", "confirm": "ConfirmInventory"}
SAGA = saga_id(1)
DONE, COMPENSATED = "InventoryReserved", "InventoryCompensated"


@dataclass
class Scripted:
    """A participant that notes its calls; `outcome` and `undo_at_once` say what do and undo lead to."""

    messages: StepMessages = MESSAGES
    outcome: StepResult = field(default_factory=lambda: Done(InventoryReserved(12)))
    undo_at_once: bool = True
    calls: list[tuple[str, str]] = field(default_factory=list)
    loaded: list[Sequence[CommandWork]] = field(default_factory=list)
    saves: int = 0

    def load(self, tx: MemoryTransaction, work: Sequence[CommandWork]) -> None:
        self.loaded.append(work)

    def do(self, rows: None, saga_id: str, command: Payload) -> StepResult:
        self.calls.append(("do", saga_id))
        return self.outcome

    def agrees(self, rows: None, command: Payload, fence: Fence) -> bool:
        return command == SAMPLES["ReserveInventory"]

    def undo(self, rows: None, saga_id: str) -> bool:
        self.calls.append(("undo", saga_id))
        return self.undo_at_once

    def confirm(self, rows: None, saga_id: str) -> None:
        self.calls.append(("confirm", saga_id))

    def forget(self, rows: None, saga_id: str) -> None:
        self.calls.append(("forget", saga_id))

    def save(self, tx: MemoryTransaction, rows: None) -> None:
        self.saves += 1


def envelope(saga: str, command: str) -> Envelope:
    """Return a `do`, `undo` or `confirm` as the handler gets it."""
    kind = KINDS[command]
    return Envelope(f"{saga}:inventory:{command}", kind, saga, SAMPLES[kind], b"", 1, None)


class Harness:
    """The participant behind its handler, on memory."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(MemoryTransaction, self.clock)
        self.participant = Scripted()
        self.handler: ParticipantHandler[Any, Any] = ParticipantHandler(self.participant)
        self.last = HandlerResult()

    def hear(self, *commands: str, saga: str = SAGA) -> list[str]:
        """Handle these commands as one batch; return the types of the answers."""
        envelopes = [envelope(saga, command) for command in commands]
        with self.store.transaction() as tx:
            self.last = self.handler.handle(tx, envelopes)
        return [reply.kind for reply in self.last.messages_to_seal]

    def put(self, fence: Fence) -> None:
        with self.store.transaction() as tx:
            tx.save_fences("inventory", [fence], ())

    def fence(self) -> Fence | None:
        return self.store.tables.tables.get("fence", {}).get((SAGA, "inventory"))


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_a_do_is_done_once_and_answered_from_its_row_every_time(harness: Harness) -> None:
    assert harness.hear("do") == [DONE]
    first = harness.last.messages_to_seal
    assert harness.hear("do") == [DONE]
    assert harness.last.messages_to_seal == first
    assert harness.participant.calls == [("do", SAGA)]
    assert first[0].message_id == f"{SAGA}:inventory:done"
    assert first[0].cause == f"{SAGA}:inventory:do"


def test_a_refusal_is_kept_and_repeated_even_when_the_do_would_now_succeed(harness: Harness) -> None:
    harness.participant.outcome = Refused("out_of_stock", "none left")
    assert harness.hear("do") == ["InventoryReservationFailed"]
    first = harness.last.messages_to_seal
    harness.participant.outcome = Done(InventoryReserved(1))
    assert harness.hear("do") == ["InventoryReservationFailed"]
    assert harness.last.messages_to_seal == first
    assert first[0].message_id == f"{SAGA}:inventory:failed"
    assert harness.hear("undo") == [COMPENSATED]
    assert harness.participant.calls == [("do", SAGA)]


def test_do_then_undo_runs_the_inverse_once(harness: Harness) -> None:
    assert harness.hear("do") == [DONE]
    assert harness.hear("undo") == [COMPENSATED]
    first = harness.last.messages_to_seal
    assert harness.hear("undo", "do") == [COMPENSATED, COMPENSATED]
    assert harness.last.messages_to_seal[0] == first[0]
    assert harness.participant.calls == [("do", SAGA), ("undo", SAGA)]
    assert first[0].message_id == f"{SAGA}:inventory:compensated"


def test_undo_before_do_is_a_tombstone_and_the_late_do_is_refused(harness: Harness) -> None:
    assert harness.hear("undo") == [COMPENSATED]
    assert harness.hear("do") == [COMPENSATED]
    assert harness.participant.calls == []
    assert harness.fence() == Fence(SAGA, FenceState.TOMBSTONE)


def test_line_26_one_batch_may_hold_do_and_undo_of_one_saga(harness: Harness) -> None:
    assert harness.hear("do", "undo", "do") == [DONE, COMPENSATED, COMPENSATED]
    fence = harness.fence()
    assert fence is not None
    assert fence.state is FenceState.UNDONE
    assert harness.participant.saves == 1


def test_a_confirm_is_silent_and_closes_the_step_to_undoing(harness: Harness) -> None:
    assert harness.hear("do", "confirm") == [DONE]
    assert harness.hear("confirm") == []
    assert harness.hear("do") == [DONE]
    assert harness.hear("undo") == []
    [parked] = harness.last.parked
    assert (parked.reason, parked.detail) == ("impossible_command", "undo met CONFIRMED")
    assert harness.participant.calls == [("do", SAGA), ("confirm", SAGA)]


@pytest.mark.parametrize("state", ["no row", *(s for s in FenceState if s not in ("DONE", "CONFIRMED"))])
def test_a_confirm_of_what_is_not_done_is_parked(harness: Harness, state: str) -> None:
    if state != "no row":
        harness.put(Fence(SAGA, FenceState(state)))
    before = harness.fence()
    assert harness.hear("confirm") == []
    assert [parked.detail for parked in harness.last.parked] == [f"confirm met {state}"]
    assert harness.fence() == before
    assert harness.participant.calls == []


def test_a_running_step_is_silent_and_its_undo_forgets_it_while_nobody_outside_has_heard_of_it(
    harness: Harness,
) -> None:
    harness.participant.outcome = Running()
    assert harness.hear("do", "do") == []
    assert harness.fence() == Fence(SAGA, FenceState.RUNNING)
    assert harness.hear("undo") == [COMPENSATED]
    assert harness.participant.calls == [("do", SAGA), ("forget", SAGA)]
    assert harness.fence() == Fence(SAGA, FenceState.TOMBSTONE)


def test_a_submitted_step_remembers_that_its_undo_was_requested(harness: Harness) -> None:
    submitted = Fence(SAGA, FenceState.RUNNING, submitted=True)
    harness.put(submitted)
    assert harness.hear("undo", "undo", "do") == []
    assert harness.fence() == submitted._replace(undo_requested=True)
    assert harness.participant.calls == []


def test_an_undo_that_waits_for_the_outside_world_is_silent_until_then(harness: Harness) -> None:
    harness.participant.undo_at_once = False
    harness.hear("do")
    assert harness.hear("undo", "undo", "do") == []
    fence = harness.fence()
    assert fence is not None
    assert fence.state is FenceState.UNDOING
    assert harness.participant.calls == [("do", SAGA), ("undo", SAGA)]


def test_line_5_past_its_last_moment_a_do_is_refused_for_every_repeat(harness: Harness) -> None:
    harness.clock.now_ms = NOT_AFTER_MS + 1
    assert harness.hear("do", "do") == ["InventoryReservationFailed"] * 2
    assert b'"expired"' in harness.last.messages_to_seal[0].value
    harness.clock.now_ms = NOT_AFTER_MS
    assert harness.hear("do") == ["InventoryReservationFailed"]
    assert harness.participant.calls == []


def test_line_5_at_its_last_moment_a_do_is_still_done(harness: Harness) -> None:
    harness.clock.now_ms = NOT_AFTER_MS
    assert harness.hear("do") == [DONE]


def test_line_5_a_do_that_was_done_in_time_is_answered_as_done_ever_after(harness: Harness) -> None:
    assert harness.hear("do") == [DONE]
    harness.clock.now_ms = NOT_AFTER_MS + 1
    assert harness.hear("do") == [DONE]


def test_the_work_that_is_loaded_says_which_row_each_command_met(harness: Harness) -> None:
    harness.hear("do")
    harness.hear("undo", "confirm")
    [first, second] = harness.participant.loaded
    assert [work.fence for work in first] == [None]
    assert [work.fence and work.fence.state for work in second] == [FenceState.DONE] * 2


def test_the_pivot_has_neither_undo_nor_confirm() -> None:
    store = MemoryStore(MemoryTransaction, lambda: 1)
    handler = ParticipantHandler(Scripted(CART_STEP.messages))
    command = Envelope(f"{SAGA}:cart:do", "ClearCart", SAGA, SAMPLES["ClearCart"], b"", 1, None)
    with store.transaction() as tx:
        assert [each.kind for each in handler.handle(tx, [command]).messages_to_seal] == ["CartCleared"]
        for kind in ("CompensateCart", ""):
            with pytest.raises(KeyError):
                handler.handle(tx, [command._replace(kind=kind)])


COMMANDS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["do", "undo", "confirm"])), max_size=14)


@given(COMMANDS, st.lists(st.integers(1, 5), max_size=14))
def test_however_commands_are_batched_the_end_and_the_answers_are_the_same(
    commands: list[tuple[int, str]], sizes: list[int]
) -> None:
    singly, batched = Harness(), Harness()
    expected, answers = HandlerResult(), HandlerResult()
    for command in commands:
        _hear(singly, [command], expected)
    rest = commands
    for size in [*sizes, len(commands)]:
        _hear(batched, rest[:size], answers)
        rest = rest[size:]
    assert answers == expected
    assert batched.store.tables.tables.get("fence", {}) == singly.store.tables.tables.get("fence", {})
    assert batched.participant.calls == singly.participant.calls


def _hear(harness: Harness, commands: list[tuple[int, str]], heard: HandlerResult) -> None:
    """Handle one batch and add its answers to `heard`."""
    envelopes = [envelope(saga_id(n), command) for n, command in commands]
    with harness.store.transaction() as tx:
        handled = harness.handler.handle(tx, envelopes)
    heard.messages_to_seal += handled.messages_to_seal
    heard.parked += handled.parked
