"""Whatever a saga hears, in whatever order: what must hold after every event."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.samples import SAMPLES
from tests.unit.saga.conversation import Conversation
from tests.unit.saga.test_state_machine import BY_HAND
from tests.unit.saga.trip import TRIP

from holdfast.saga.definition import SagaDefinition
from holdfast.saga.diagram import edges
from holdfast.saga.state import CANCELLATION_REQUESTED, DEADLINE_PASSED, Decision, SagaInstance, Timer, Verb
from holdfast.sagas.checkout import CHECKOUT

Heard = tuple[str, str, Verb, bool]
"""An event's kind, and for a deadline its step, verb and whether it is overdue."""


def walks(definition: SagaDefinition) -> st.SearchStrategy[list[Heard]]:
    """Draw sequences in which the way forward is likely enough to be walked to its end."""
    names = [step.name for step in definition.steps]
    kinds = st.sampled_from([*definition.event_kinds, CANCELLATION_REQUESTED, definition.outcome_requested])
    done = st.sampled_from([definition.started_by, *(step.done for step in definition.steps)])
    plain = st.tuples(done | kinds, st.just(""), st.just(Verb.DO), st.just(False))
    deadline = st.tuples(
        st.just(DEADLINE_PASSED),
        st.sampled_from(names),
        st.sampled_from([Verb.DO, Verb.UNDO]),
        st.booleans(),
    )
    begin = (definition.started_by, "", Verb.DO, False)
    ahead = [(step.done, "", Verb.DO, False) for step in definition.steps]
    length = st.integers(0, len(ahead))
    rest = st.lists(plain | plain | deadline, max_size=25)
    return st.builds(lambda n, tail: [begin, *ahead[:n], *tail], length, rest) | rest


@dataclass
class Walk:
    """A conversation under watch."""

    talk: Conversation
    legal: set[tuple[str, str]]
    sent: list[str] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)

    def hear(self, heard: Heard) -> None:
        kind, step, verb, overdue = heard
        before = self.talk.saga
        if kind == DEADLINE_PASSED:
            self.talk.given_deadline(step, verb, overdue=overdue)
        elif kind == CANCELLATION_REQUESTED:
            self.talk.given_cancellation()
        else:
            self.talk.given(kind)
        decision = self.talk.last
        self._finals_are_final(before, decision)
        self._commands_are_sent_once(kind, decision)
        if self.talk.saga is not None:
            self._answers_are_kept(kind, before)
            self._owed_is_what_was_asked_and_not_answered(self.talk.saga)
            self._timers_watch_what_is_awaited(self.talk.saga)
        assert set(zip(self.talk.path, self.talk.path[1:], strict=False)) <= self.legal

    def _finals_are_final(self, before: SagaInstance | None, decision: Decision) -> None:
        if before is not None and before.state in self.talk.definition.terminal:
            assert decision.saga is None
            assert self.talk.saga == before

    def _commands_are_sent_once(self, kind: str, decision: Decision) -> None:
        """Only a deadline, a question or a repeated start may send again what was sent before."""
        ids = [message.message_id for message in decision.messages]
        assert len(ids) == len(set(ids))
        repeats = {DEADLINE_PASSED, self.talk.definition.outcome_requested, self.talk.definition.started_by}
        if kind not in repeats:
            assert not set(ids) & set(self.sent)
        if kind != self.talk.definition.outcome_requested:
            self.sent += ids

    def _answers_are_kept(self, kind: str, before: SagaInstance | None) -> None:
        """Note undos answered: those that were owed, or came for the awaited step."""
        for step in self.talk.definition.compensatable:
            if kind == step.undone and before is not None and self.talk.last.saga is not None:
                awaited = before.state == step.pending
                if awaited or step.name in before.owed:
                    self.answered.add(step.name)

    def _owed_is_what_was_asked_and_not_answered(self, saga: SagaInstance) -> None:
        d = self.talk.definition
        compensatable = [step.name for step in d.compensatable]
        asked = {name for name in compensatable if f"{saga.saga_id}:{name}:do" in self.sent}
        undone = {name for name in compensatable if f"{saga.saga_id}:{name}:undo" in self.sent}
        assert bool(saga.owed) == (saga.state == d.compensating)
        assert not set(saga.owed) & set(saga.failed)
        if saga.state in (d.compensating, d.failed_state):
            must = asked - set(saga.failed)
            assert undone == must
            assert set(saga.owed) == must - self.answered
            assert list(saga.owed) == [name for name in reversed(compensatable) if name in saga.owed]
        else:
            assert not undone

    def _timers_watch_what_is_awaited(self, saga: SagaInstance) -> None:
        pending = [Timer(s.name, Verb.DO) for s in self.talk.definition.steps if s.pending == saga.state]
        assert self.talk.timers == {*pending, *(Timer(name, Verb.UNDO) for name in saga.owed)}


@settings(max_examples=400, deadline=None)
@given(walks(CHECKOUT))
def test_a_checkout_keeps_its_promises_whatever_it_hears(walk: list[Heard]) -> None:
    watched = Walk(Conversation(CHECKOUT, dict(SAMPLES)), BY_HAND)
    for heard in walk:
        watched.hear(heard)


@settings(max_examples=200, deadline=None)
@given(walks(TRIP))
def test_so_does_a_saga_that_is_no_checkout(walk: list[Heard]) -> None:
    payloads = dict.fromkeys([*TRIP.event_kinds, TRIP.outcome_requested], SAMPLES["CartCleared"])
    watched = Walk(Conversation(TRIP, payloads), {(edge.before, edge.after) for edge in edges(TRIP)})
    for heard in walk:
        watched.hear(heard)
