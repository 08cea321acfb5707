"""What a participant of a saga supplies, and the one place where fence acts become writes and replies.

A participant loads rows, applies pure functions, saves them; the fence handles repeats, tombstones and order.
"""

from collections.abc import Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import EmptyPayload, Payload, Refused
from holdfast.contracts.steps import StepMessages
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.fence import Act, Fence, FenceState, Verb, act
from holdfast.messaging.handler import HandlerResult, OutboxMessage
from holdfast.messaging.message_origin import CONTRADICTS_RECORD
from holdfast.messaging.store import Transaction


class Done(NamedTuple):
    """The step's effect is made; `reply` is the payload of its answer."""

    reply: Payload


class Running(NamedTuple):
    """The step's intent is recorded; the answer comes later."""


StepResult = Done | Refused | Running


class CommandWork(NamedTuple):
    """A command whose effect may have to be made, with the fence row that was there before (None: no row)."""

    envelope: Envelope
    verb: Verb
    fence: Fence | None


T = TypeVar("T", bound=Transaction)
R = TypeVar("R")
T_contra = TypeVar("T_contra", bound=Transaction, contravariant=True)


class Participant(Protocol[T_contra, R]):
    """A service's part of a saga: `load` and `save` touch the database, the methods in between are pure."""

    messages: StepMessages

    def load(self, tx: T_contra, work: Sequence[CommandWork]) -> R:
        """Lock, in sorted order, and read the rows that this work may need."""

    def do(self, rows: R, saga_id: str, command: Payload) -> StepResult:
        """Make the effect in `rows`, or refuse it."""

    def agrees(self, rows: R, command: Payload, fence: Fence) -> bool:
        """Tell whether a repeated do asks for what this row did; True if the row did nothing."""

    def undo(self, rows: R, saga_id: str) -> bool:
        """Make the inverse effect in `rows`; return False if the outside world must answer first."""

    def confirm(self, rows: R, saga_id: str) -> None:
        """Make the effect final in `rows`."""

    def forget(self, rows: R, saga_id: str) -> None:
        """Drop an intent that was never submitted (only if `do` returned Running)."""

    def save(self, tx: T_contra, rows: R) -> None:
        """Write each changed row once."""


class ParticipantHandler(Generic[T, R]):
    """Handles one step's commands in batches, behind the fence."""

    def __init__(self, participant: Participant[T, R]) -> None:
        self._participant = participant
        self._messages = messages = participant.messages
        verbs = {messages.do: Verb.DO, messages.undo: Verb.UNDO, messages.confirm: Verb.CONFIRM}
        self._verbs = {kind: verb for kind, verb in verbs.items() if kind}

    def handle(self, tx: T, envelopes: Sequence[Envelope]) -> HandlerResult:
        """Lock fences, load, apply commands in order, write each row once; replies come from fence rows."""
        step = self._messages.step
        ids = [envelope.saga_id for envelope in envelopes]
        fences = tx.lock_fences(step, ids)
        batch = _CommandBatch(self._messages, self._participant, dict(fences), tx.now_ms())
        work = [CommandWork(e, self._verbs[e.kind], fences.get(e.saga_id)) for e in envelopes]
        batch.rows = self._participant.load(tx, work)
        for item in work:
            batch.apply(item.envelope, item.verb)
        self._participant.save(tx, batch.rows)
        changed = [row for saga_id, row in batch.fences.items() if row is not fences.get(saga_id)]
        tx.save_fences(step, changed, sorted(set(ids) - batch.fences.keys()))
        return batch.result


class _CommandBatch(Generic[T, R]):
    """Applies the commands of one batch to the fence rows and to the participant's rows."""

    rows: R

    def __init__(
        self, messages: StepMessages, participant: Participant[T, R], fences: dict[str, Fence], now_ms: int
    ) -> None:
        self._messages = messages
        self._participant = participant
        self._now_ms = now_ms
        self.fences = fences
        self.result = HandlerResult()

    def apply(self, envelope: Envelope, verb: Verb) -> None:
        fence = self.fences.get(envelope.saga_id)
        repeated = fence if verb is Verb.DO else None
        if repeated and not self._participant.agrees(self.rows, envelope.payload, repeated):
            detail = f"a repeated {envelope.kind} asks for something else"
            self.result.park(envelope, CONTRADICTS_RECORD, detail)
        else:
            self._follow(envelope, verb, fence)

    def _follow(self, envelope: Envelope, verb: Verb, fence: Fence | None) -> None:
        saga_id = envelope.saga_id
        match act(fence, verb):
            case Act.RUN:
                self._run(envelope)
            case Act.REPEAT:
                assert fence is not None
                self._answer(envelope, fence.reply_kind, fence.reply)
            case Act.INVERT:
                assert fence is not None
                self._invert(envelope, fence)
            case Act.CONFIRM:
                assert fence is not None
                self._participant.confirm(self.rows, saga_id)
                self.fences[saga_id] = fence._replace(state=FenceState.CONFIRMED)
            case Act.TOMBSTONE:
                if fence is not None:
                    self._participant.forget(self.rows, saga_id)
                self.fences[saga_id] = Fence(saga_id, FenceState.TOMBSTONE)
                self._answer(envelope, self._messages.undone, _EMPTY)
            case Act.ANSWER_UNDONE:
                self._answer(envelope, self._messages.undone, _EMPTY)
            case Act.REQUEST_UNDO:
                assert fence is not None
                self.fences[saga_id] = fence._replace(undo_requested=True)
            case Act.PARK:
                state = fence.state if fence else "no row"
                self.result.park(envelope, "impossible_command", f"{verb} met {state}")
            case Act.SILENT:
                pass

    def _run(self, envelope: Envelope) -> None:
        """Do the step, or refuse it if its `not_after_ms` has passed; the pivot has no such bound."""
        saga_id, command = envelope.saga_id, envelope.payload
        result: StepResult
        if getattr(command, "not_after_ms", self._now_ms) < self._now_ms:
            result = Refused("expired", "the command came after its last moment")
        else:
            result = self._participant.do(self.rows, saga_id, command)
        if isinstance(result, Running):
            self.fences[saga_id] = Fence(saga_id, FenceState.RUNNING)
            return
        state, kind, reply = reply_of(self._messages, result)
        self.fences[saga_id] = Fence(saga_id, state, kind, reply)
        self._answer(envelope, kind, reply)

    def _invert(self, envelope: Envelope, fence: Fence) -> None:
        if self._participant.undo(self.rows, envelope.saga_id):
            self.fences[envelope.saga_id] = fence._replace(state=FenceState.UNDONE)
            self._answer(envelope, self._messages.undone, _EMPTY)
        else:
            self.fences[envelope.saga_id] = fence._replace(state=FenceState.UNDOING)

    def _answer(self, envelope: Envelope, kind: str, reply: bytes) -> None:
        suffix = _SUFFIX[kind == self._messages.undone, kind == self._messages.failed]
        reply_id = f"{envelope.saga_id}:{self._messages.step}:{suffix}"
        self.result.messages_to_seal.append(
            OutboxMessage(reply_id, kind, envelope.saga_id, reply, envelope.message_id)
        )


def reply_of(messages: StepMessages, result: Done | Refused) -> tuple[FenceState, str, bytes]:
    """Return the fence state, reply type and encoded reply of a definitive result."""
    if isinstance(result, Refused):
        return FenceState.REFUSED, messages.failed, encode(result)
    return FenceState.DONE, messages.done, encode(result.reply)


_EMPTY = encode(EmptyPayload())
_SUFFIX = {(True, False): "compensated", (False, True): "failed", (False, False): "done"}
