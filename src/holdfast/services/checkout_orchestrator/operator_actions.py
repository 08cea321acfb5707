"""What people may do to a saga: cancel it before its pivot, or resume it (send its awaited commands again).

Each action runs in the writer's transaction; an operator's action is recorded there too.
"""

from enum import StrEnum
from typing import NamedTuple

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import Refused
from holdfast.contracts.steps import CANCELLED_BY_OPERATOR, CANCELLED_BY_SHOPPER
from holdfast.messaging.envelope import Envelope
from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.store import OperatorAction, TimerRow
from holdfast.messaging.timers import FiredTimer
from holdfast.saga.state import CANCELLATION_REQUESTED, SagaInstance, Verb
from holdfast.services.checkout_orchestrator.checkout_service import CheckoutService
from holdfast.services.checkout_orchestrator.liabilities import owner
from holdfast.services.checkout_orchestrator.store_port import SagaTransaction

BY_THE_SHOPPER = "by the shopper"


class ActionOutcome(StrEnum):
    """What a requested action did."""

    DONE = "done"
    NOTHING = "nothing"  # the saga is compensating already
    PAST_THE_PIVOT = "past_the_pivot"
    ENDED = "ended"
    UNKNOWN = "unknown"


class ActionResult(NamedTuple):
    """What was done, the saga afterwards (None if there is none), and the kinds of messages sent."""

    did: ActionOutcome
    saga: SagaInstance | None = None
    sent: tuple[str, ...] = ()


HandledAction = tuple[HandlerResult, ActionResult]


class OperatorActions:
    """Carries out what shoppers and operators request, through `CheckoutService`."""

    def __init__(self, service: CheckoutService) -> None:
        self._service = service

    def cancel_for_shopper(self, tx: SagaTransaction, saga_id: str, user_id: str) -> HandledAction:
        """Cancel a saga for its owner, also before it begins; another user's saga is UNKNOWN.

        The caller must have found the saga among the user's accepted checkouts: a saga that has not begun is
        not known here, so its owner cannot be checked, and it is written as FAILED.
        """
        saga = tx.lock_sagas([saga_id], [saga_id]).get(saga_id)
        if saga is not None and owner(saga) not in (None, user_id):
            return HandlerResult(), ActionResult(ActionOutcome.UNKNOWN)
        return self._cancel(tx, saga_id, saga, Refused(CANCELLED_BY_SHOPPER, BY_THE_SHOPPER))

    def cancel(self, tx: SagaTransaction, saga_id: str, operator: str, reason: str) -> HandledAction:
        """Cancel a saga that is stored; record the operator's action if the saga was cancelled."""
        saga = tx.lock_sagas([saga_id], ()).get(saga_id)
        if saga is None:
            return HandlerResult(), ActionResult(ActionOutcome.UNKNOWN)
        handled, result = self._cancel(tx, saga_id, saga, Refused(CANCELLED_BY_OPERATOR, reason))
        if result.did is ActionOutcome.DONE:
            tx.record_actions([OperatorAction(operator, "cancel_saga", saga_id, reason)])
        return handled, result

    def resume(self, tx: SagaTransaction, saga_id: str, operator: str, reason: str) -> HandledAction:
        """Send the awaited commands again now, stalled or not; a lost deadline is created again.

        This counts as a firing of the deadline, but never as an overdue one.
        """
        timers = {row.key: row for row in tx.lock_timers(saga_id)}
        saga = tx.lock_sagas([saga_id], ()).get(saga_id)
        if saga is None:
            return HandlerResult(), ActionResult(ActionOutcome.UNKNOWN)
        if saga.state in self._service.definition_of(saga).terminal:
            return HandlerResult(), ActionResult(ActionOutcome.ENDED, saga)
        rows = [timers.get(row.key) or _restored(tx, row) for row in self._awaited(saga, tx.now_ms())]
        fired = [FiredTimer(row, overdue=False, end_offset=row.end_offset, sound=False) for row in rows]
        handled = self._service.fire(tx, fired)
        tx.record_actions([OperatorAction(operator, "resume_saga", saga_id, reason)])
        return handled, ActionResult(
            ActionOutcome.DONE, tx.read_saga(saga_id), tuple(r.kind for r in handled.messages_to_seal)
        )

    def _cancel(
        self, tx: SagaTransaction, saga_id: str, before: SagaInstance | None, refusal: Refused
    ) -> HandledAction:
        raw = encode(refusal)
        event = Envelope(f"{saga_id}:cancel", CANCELLATION_REQUESTED, saga_id, refusal, raw, 1, None)
        handled = self._service.handle(tx, [event])
        after = tx.read_saga(saga_id)
        if after is None:  # the saga has ended and was pruned: nothing may start it again
            return HandlerResult(), ActionResult(ActionOutcome.UNKNOWN)
        if before is None or after.version > before.version:
            return handled, ActionResult(
                ActionOutcome.DONE, after, tuple(reply.kind for reply in handled.messages_to_seal)
            )
        definition = self._service.definition_of(after)
        if after.state == definition.compensating:
            return handled, ActionResult(ActionOutcome.NOTHING, after)
        return handled, ActionResult(
            ActionOutcome.ENDED if after.state in definition.terminal else ActionOutcome.PAST_THE_PIVOT, after
        )

    def _awaited(self, saga: SagaInstance, now_ms: int) -> list[TimerRow]:
        definition = self._service.definition_of(saga)
        index = definition.pending_index.get(saga.state, -1)
        steps = [(name, Verb.UNDO) for name in saga.owed]
        if index >= 0:
            steps.append((definition.steps[index].name, Verb.DO))
        return [self._service.timer_row(saga.saga_id, name, verb, now_ms, None) for name, verb in steps]


def _restored(tx: SagaTransaction, row: TimerRow) -> TimerRow:
    """Return a lost deadline that counts on from its last firing in the history: no number is used twice."""
    prefix = f"{':'.join(row.key)}:deadline:"
    ids = [event.event_id for event in tx.read_history(row.key.saga_id)]
    numbers = [int(event_id.removeprefix(prefix)) for event_id in ids if event_id.startswith(prefix)]
    return row._replace(fired=max(numbers, default=0))
