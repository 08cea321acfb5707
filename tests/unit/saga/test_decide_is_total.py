"""`decide` answers every pair of state and event with exactly one of changed, ignored, parked."""

from collections.abc import Iterator

import pytest
from tests.samples import SAGA, SAMPLES
from tests.unit.saga.conversation import Conversation, a_checkout
from tests.unit.saga.trip import TRIP

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import Refused
from holdfast.contracts.topics import PAYLOADS
from holdfast.saga.definition import SagaDefinition
from holdfast.saga.machine import decide
from holdfast.saga.state import (
    CANCELLATION_REQUESTED,
    DEADLINE_PASSED,
    DeadlinePassed,
    Decision,
    Event,
    SagaInstance,
    Verb,
)
from holdfast.sagas.checkout import CHECKOUT


def every_saga() -> Iterator[SagaInstance | None]:
    """Yield every state that a checkout can be in, walking all of it, and two that it never is in."""
    frontier: list[SagaInstance | None] = [None]
    seen: set[SagaInstance | None] = {None}
    while frontier:
        saga = frontier.pop()
        yield saga
        for event in every_event():
            changed = decide(CHECKOUT, saga, event, 1).saga
            if changed is not None:
                key = changed._replace(version=1, reason="", detail="", stalled_ms=0)
                if key not in seen:
                    seen.add(key)
                    frontier.append(key)
    begun = a_checkout().given("CheckoutInitiated").saga
    assert begun is not None
    yield begun._replace(state="A_STATE_OF_ANOTHER_VERSION")
    yield begun._replace(state="CHECKOUT_INITIATED")


def every_event() -> Iterator[Event]:
    """Yield every kind of event with every step, known or not."""
    for kind in [*PAYLOADS, "NoSuchKind", ""]:
        payload = SAMPLES.get(kind)
        yield Event(SAGA, f"{SAGA}:{kind}", kind, payload, encode(payload) if payload else b"")
    for step in [*CHECKOUT.step_named, "no_such_step"]:
        for verb in Verb:
            for overdue in (False, True):
                passed = DeadlinePassed(step, verb, overdue)
                yield Event(SAGA, f"{SAGA}:{step}:{verb}:{overdue}", DEADLINE_PASSED, passed)
    yield Event(SAGA, f"{SAGA}:cancel", CANCELLATION_REQUESTED, Refused("canceled"))


SAGAS = list(every_saga())
EVENTS = list(every_event())


def test_the_walk_meets_every_state_that_the_definition_names() -> None:
    met = {saga.state for saga in SAGAS if saga is not None}
    pending = {step.pending for step in CHECKOUT.steps}
    assert met >= pending | {"COMPENSATING", "FAILED", "COMPLETED"}
    assert len([saga for saga in SAGAS if saga is not None and saga.state == "COMPENSATING"]) > 7


@pytest.mark.parametrize("saga", SAGAS, ids=lambda saga: f"{saga.state}-{saga.owed}" if saga else "NONE")
def test_every_event_is_exactly_one_of_changed_ignored_parked(saga: SagaInstance | None) -> None:
    for event in EVENTS:
        decision = decide(CHECKOUT, saga, event, 5)
        outcomes = [decision.saga is not None, bool(decision.ignored), bool(decision.parked)]
        assert outcomes.count(True) == 1, (event.kind, decision)
        _check_shape(saga, decision)


def _check_shape(saga: SagaInstance | None, decision: Decision) -> None:
    """A change counts the version up by one; what changes nothing touches neither path nor timers."""
    if decision.saga is None:
        assert decision == Decision(
            messages=decision.messages,
            ignored=decision.ignored,
            parked=decision.parked,
            recorded=decision.recorded,
        )
        assert not (decision.parked and decision.messages)
        return
    assert decision.saga.version == (saga.version + 1 if saga else 1)
    assert decision.saga.state == (decision.path[-1] if decision.path else saga and saga.state)
    assert decision.recorded


@pytest.mark.parametrize("definition", [CHECKOUT, TRIP], ids=lambda definition: definition.name)
def test_equal_questions_get_equal_answers(definition: SagaDefinition) -> None:
    event = Event(SAGA, f"{SAGA}:initiated", definition.started_by, SAMPLES["CheckoutInitiated"], b"")
    event = event._replace(raw=encode(event.payload))
    assert decide(definition, None, event, 3) == decide(definition, None, event, 3)


def test_the_engine_runs_a_saga_that_is_no_checkout_and_goes_on_after_its_pivot() -> None:
    trip = Conversation(TRIP, dict.fromkeys([*TRIP.event_kinds, "OutcomeRequested"], SAMPLES["CartCleared"]))
    trip.given("TripWanted").expect("BookFlight").in_state("BOOKING_FLIGHT")
    trip.given("FlightBooked").expect("AskForVisa").in_state("ASKING_FOR_VISA")
    trip.given("VisaGranted").expect("MailTickets").in_state("MAILING_TICKETS")
    for _ in range(3):
        trip.given_deadline("mail", overdue=True).expect("MailTickets").in_state("MAILING_TICKETS")
    trip.given_cancellation().ignored("past_the_pivot", recorded=False)
    trip.given("VisaRefused", "FlightCanceled").ignored("not_awaited").in_state("MAILING_TICKETS")
    trip.given("TicketsMailed").expect("ConfirmFlight", "TripReady").in_state("READY")
