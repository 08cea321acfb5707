"""`decide`: every pair of state and event changes the saga, is ignored with a reason, or is parked.

Compensation goes through the table of steps in reverse (Garcia-Molina & Salem, Sagas, 1987).
"""

from typing import Any

from holdfast.saga.definition import SagaDefinition, Step, StepClass
from holdfast.saga.state import (
    CANCELLATION_REQUESTED,
    DEADLINE_PASSED,
    DeadlinePassed,
    Decision,
    Event,
    Outgoing,
    SagaInstance,
    Timer,
    Verb,
)


def decide(definition: SagaDefinition, saga: SagaInstance | None, event: Event, now_ms: int) -> Decision:
    """Return what `event` does to `saga` (None: no such saga yet). Covers every pair and never raises."""
    transition = Transition(definition, saga, event, now_ms)
    if event.kind == DEADLINE_PASSED:
        return transition.deadline_passed(event.payload)
    if event.kind == CANCELLATION_REQUESTED:
        return transition.cancel()
    if event.kind == definition.outcome_requested:
        return transition.answer_outcome()
    if event.kind in definition.reactions:
        return definition.reactions[event.kind](transition)
    if event.kind == definition.started_by:
        return transition.start()
    step = definition.answered_step.get(event.kind)
    if step is None:
        return Decision(parked="unknown_event")
    if event.kind == step.done:
        return transition.step_done(step.name)
    if event.kind == step.failed:
        return transition.step_failed(step.name)
    return transition.step_undone(step.name)


def contradicts_end(definition: SagaDefinition, saga: SagaInstance, event: Event) -> str:
    """Return how a definitive answer contradicts the end of its saga; empty if it does not, or is no answer.

    Call it only for an answer that is not in the history: a repeated answer contradicts nothing.
    """
    if saga.state == definition.completed_state:
        not_done = [s.name for s in definition.steps if event.kind in (s.failed, s.undone)]
        return f"{not_done[0]} says that it does not stand, and the saga completed" if not_done else ""
    if saga.state == definition.failed_state:
        done = [s.name for s in definition.steps if event.kind == s.done and s.name in saga.failed]
        return f"{done[0]} says that it is done, and had refused" if done else ""
    return ""


class Transition:
    """One event that meets one saga, with the moves that it can make."""

    def __init__(
        self, definition: SagaDefinition, saga: SagaInstance | None, event: Event, now_ms: int
    ) -> None:
        self.definition = definition
        self.saga = saga
        self.event = event
        self.now_ms = now_ms

    # -- the way forward

    def start(self) -> Decision:
        """Begin the saga. A repeated start of an ended saga sends the final event again."""
        d = self.definition
        if self.saga is not None:
            return Decision(ignored="repeated_start", messages=self._final_again())
        instance = self._new_instance()
        return self._await(instance, 0, (d.initial,), clear=())

    def step_done(self, name: str) -> Decision:
        """Go on to the step after `name`, if the saga awaits the answer of `name`."""
        saga = self.saga
        if saga is None:
            return Decision(parked="unknown_saga")
        step, index = self._awaited(saga)
        if step is None or step.name != name:
            return Decision(ignored=self._ignore_reason(saga))
        if step.keeps_result:
            saga = saga._replace(results=(*saga.results, (name, self.event.raw)))
        return self._await(_next(saga), index + 1, (step.finished,), clear=(Timer(name, Verb.DO),))

    # -- the way back

    def step_failed(self, name: str) -> Decision:
        """Begin to compensate because the awaited step refused."""
        saga = self.saga
        if saga is None:
            return Decision(parked="unknown_saga")
        step, _ = self._awaited(saga)
        if step is None or step.name != name:
            return Decision(ignored=self._ignore_reason(saga))
        reason, detail = self.definition.refusal(self.event)
        return self._start_compensating(
            _next(saga)._replace(failed=(*saga.failed, name), reason=reason, detail=detail)
        )

    def step_undone(self, name: str) -> Decision:
        """Note that one owed undo is done; from the awaited step it means a refusal that needs no undo."""
        saga = self.saga
        if saga is None:
            return Decision(parked="unknown_saga")
        step, _ = self._awaited(saga)
        if step is not None and step.name == name:
            refused = _next(saga)._replace(failed=(*saga.failed, name), reason="undone_before_done")
            return self._start_compensating(refused)
        if saga.state != self.definition.compensating or name not in saga.owed:
            return Decision(ignored=self._ignore_reason(saga))
        still_owed = tuple(owed for owed in saga.owed if owed != name)
        changed = _next(saga)._replace(owed=still_owed)
        cleared = (Timer(name, Verb.UNDO),)
        if still_owed:
            return Decision(saga=changed, clear_timers=cleared)
        return self._end_failed(changed, cleared)

    def cancel(self) -> Decision:
        """Undo everything because a shopper or an operator cancelled, unless the pivot was sent."""
        saga, d = self.saga, self.definition
        if saga is None:
            return self._cancel_before_start()
        step, _ = self._awaited(saga)
        if step is None:
            return Decision(ignored=self._ignore_reason(saga), recorded=False)
        if step.step_class is not StepClass.COMPENSATABLE:
            return Decision(ignored="past_the_pivot", recorded=False)
        reason, detail = d.refusal(self.event)
        return self._start_compensating(_next(saga)._replace(reason=reason, detail=detail))

    def deadline_passed(self, fired: DeadlinePassed) -> Decision:
        """Send the same command again; once overdue, undo. The pivot and later steps are never undone."""
        saga = self.saga
        if saga is None:
            return Decision(ignored="unknown_saga", recorded=False)
        step = self.definition.step_named.get(fired.step)
        if step is None:
            return Decision(ignored="unknown_step", recorded=False)
        if fired.verb is Verb.UNDO:
            return self._send_undo_again(saga, step, fired.overdue)
        awaited, _ = self._awaited(saga)
        if awaited is not step:
            return Decision(ignored=self._ignore_reason(saga), recorded=False)
        if fired.overdue and step.step_class is StepClass.COMPENSATABLE:
            return self._start_compensating(
                _next(saga)._replace(reason="deadline", detail=f"no answer from {step.name}")
            )
        again = self._command(saga, step, Verb.DO)
        return Decision(saga=_next(saga), messages=(again,), set_timers=(Timer(step.name, Verb.DO),))

    # -- outcome requests

    def answer_outcome(self) -> Decision:
        """Tell a participant whose step is still open how the saga ended; this never enters the history."""
        saga, d = self.saga, self.definition
        if saga is None:
            return Decision(parked="unknown_saga")
        messages: tuple[Outgoing, ...] = ()
        if saga.state == d.completed_state:
            messages = self._confirms(saga)
        elif saga.state in (d.failed_state, d.compensating):
            messages = tuple(self._command(saga, s, Verb.UNDO) for s in reversed(d.compensatable))
        return Decision(ignored="outcome_requested", messages=messages, recorded=False)

    # -- parts of the moves above

    def _await(
        self, saga: SagaInstance, index: int, path: tuple[str, ...], clear: tuple[Timer, ...]
    ) -> Decision:
        """Send the command of step `index`, or complete the saga if there is no such step."""
        d = self.definition
        if index == len(d.steps):
            done = saga._replace(state=d.completed_state, ended_ms=self.now_ms)
            final = self._message(done, "completed", d.completed_event, d.completed(done))
            return Decision(done, path, (*self._confirms(done), final), clear_timers=clear)
        step = d.steps[index]
        waiting = saga._replace(state=step.pending)
        return Decision(
            saga=waiting,
            path=(*path, step.pending),
            messages=(self._command(waiting, step, Verb.DO),),
            set_timers=(Timer(step.name, Verb.DO),),
            clear_timers=clear,
        )

    def _start_compensating(self, saga: SagaInstance) -> Decision:
        """Send an undo to every compensatable step that got a command and did not answer `failed`."""
        d = self.definition
        step, index = self._awaited(saga)
        assert step is not None, "only a saga that awaits an answer can begin to compensate"
        asked = [s for s in d.steps[: index + 1] if s.step_class is StepClass.COMPENSATABLE]
        owed = [s for s in reversed(asked) if s.name not in saga.failed]
        cleared = (Timer(step.name, Verb.DO),)
        if not owed:
            return self._end_failed(saga, cleared)
        compensating = saga._replace(state=d.compensating, owed=tuple(s.name for s in owed))
        return Decision(
            saga=compensating,
            path=(d.compensating,),
            messages=tuple(self._command(compensating, s, Verb.UNDO) for s in owed),
            set_timers=tuple(Timer(s.name, Verb.UNDO) for s in owed),
            clear_timers=cleared,
        )

    def _end_failed(self, saga: SagaInstance, cleared: tuple[Timer, ...]) -> Decision:
        d = self.definition
        ended = saga._replace(state=d.failed_state, owed=(), ended_ms=self.now_ms, stalled_ms=0)
        final = self._message(ended, "failed", d.failed_event, d.failed(ended))
        return Decision(ended, (d.failed_state,), (final,), clear_timers=cleared)

    def _cancel_before_start(self) -> Decision:
        """Write a failed saga, because it was cancelled before its start; then a late start does nothing."""
        d = self.definition
        reason, detail = d.refusal(self.event)
        return self._end_failed(self._new_instance()._replace(reason=reason, detail=detail), ())

    def _new_instance(self) -> SagaInstance:
        d, event = self.definition, self.event
        return SagaInstance(event.saga_id, d.name, d.version, d.initial, 1, event.raw, started_ms=self.now_ms)

    def _send_undo_again(self, saga: SagaInstance, step: Step, overdue: bool) -> Decision:
        if step.name not in saga.owed:
            return Decision(ignored=self._ignore_reason(saga), recorded=False)
        again = self._command(saga, step, Verb.UNDO)
        late = _next(saga)
        if overdue and not saga.stalled_ms:
            late = late._replace(stalled_ms=self.now_ms)
        return Decision(saga=late, messages=(again,), set_timers=(Timer(step.name, Verb.UNDO),))

    def _final_again(self) -> tuple[Outgoing, ...]:
        saga, d = self.saga, self.definition
        assert saga is not None
        if saga.state == d.completed_state:
            return (self._message(saga, "completed", d.completed_event, d.completed(saga)),)
        if saga.state == d.failed_state:
            return (self._message(saga, "failed", d.failed_event, d.failed(saga)),)
        return ()

    def _confirms(self, saga: SagaInstance) -> tuple[Outgoing, ...]:
        return tuple(self._command(saga, s, Verb.CONFIRM) for s in self.definition.steps if s.confirm)

    def _command(self, saga: SagaInstance, step: Step, verb: Verb) -> Outgoing:
        kind = {Verb.DO: step.do, Verb.UNDO: step.undo, Verb.CONFIRM: step.confirm}[verb]
        assert kind is not None, f"{step.name} has no {verb}"
        payload = step.command(saga) if verb is Verb.DO else self.definition.empty_payload
        return self._message(saga, f"{step.name}:{verb}", kind, payload)

    def _message(self, saga: SagaInstance, suffix: str, kind: str, payload: Any) -> Outgoing:
        return Outgoing(f"{saga.saga_id}:{suffix}", kind, payload)

    def _awaited(self, saga: SagaInstance) -> tuple[Step | None, int]:
        index = self.definition.pending_index.get(saga.state, -1)
        return (self.definition.steps[index], index) if index >= 0 else (None, -1)

    def _ignore_reason(self, saga: SagaInstance) -> str:
        """Return why an answer changes nothing: the saga ended, compensates, or awaits another answer."""
        if saga.state in self.definition.terminal:
            return "saga_ended"
        return "compensating" if saga.state == self.definition.compensating else "not_awaited"


def _next(saga: SagaInstance) -> SagaInstance:
    return saga._replace(version=saga.version + 1)
