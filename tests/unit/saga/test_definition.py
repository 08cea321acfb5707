"""A definition that contradicts itself is refused when it is made."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.unit.saga.trip import FLIGHT, MAIL, TRIP, VISA

from holdfast.saga.definition import InvalidDefinition, SagaDefinition, StepClass
from holdfast.saga.machine import decide
from holdfast.saga.state import Decision, Event
from holdfast.sagas.checkout import CHECKOUT
from holdfast.sagas.return_order import RETURN_ORDER


def _hotel(name: str = "hotel") -> dict[str, str]:
    return {
        "name": name,
        "pending": "BOOKING_HOTEL",
        "finished": "HOTEL_BOOKED",
        "do": "BookHotel",
        "done": "HotelBooked",
        "failed": "HotelFull",
        "undo": "CancelHotel",
        "undone": "HotelCanceled",
        "confirm": "ConfirmHotel",
    }


HOTEL = replace(FLIGHT, **_hotel())  # type: ignore[arg-type]
SECOND_VISA = replace(
    VISA, name="visa_too", pending="P", finished="F", do="AskAgain", done="FlightFull", failed=None
)

REFUSED: dict[str, tuple[Callable[[], SagaDefinition], str]] = {
    "no steps": (lambda: replace(TRIP, steps=()), "at least one step"),
    "compensatable after the pivot": (
        lambda: replace(TRIP, steps=(VISA, FLIGHT)),
        "must be compensatable, then the pivot",
    ),
    "retriable before the pivot": (lambda: replace(TRIP, steps=(MAIL, VISA)), "must be compensatable"),
    "retriable before compensatable": (lambda: replace(TRIP, steps=(MAIL, FLIGHT)), "must be compensatable"),
    "two pivots": (lambda: replace(TRIP, steps=(VISA, SECOND_VISA)), "only one pivot"),
    "no undo": (lambda: replace(TRIP, steps=(replace(FLIGHT, undo=None),)), "trip.flight: compensatable"),
    "no undone": (lambda: replace(TRIP, steps=(replace(FLIGHT, undone=None),)), "trip.flight: compensatable"),
    "no confirm": (lambda: replace(TRIP, steps=(replace(FLIGHT, confirm=None),)), "trip.flight: compensat"),
    "a pivot with an undo": (lambda: replace(TRIP, steps=(replace(VISA, undo="U"),)), "others none of them"),
    "a refusable retriable": (
        lambda: replace(TRIP, steps=(replace(MAIL, failed="FlightFull"),)),
        "trip.mail: a retriable step cannot be refused",
    ),
    "a reaction to nothing": (
        lambda: replace(TRIP, reactions={"Unheard": lambda turn: turn.start()}),
        "trip: a reaction to Unheard, which none of its steps answers",
    ),
    "a state named twice": (
        lambda: replace(TRIP, steps=(FLIGHT, replace(HOTEL, pending="FLIGHT_BOOKED"))),
        "state named twice: FLIGHT_BOOKED",
    ),
    "a final state named twice": (lambda: replace(TRIP, failed_state="READY"), "state named twice: READY"),
    "a step named twice": (
        lambda: replace(TRIP, steps=(FLIGHT, replace(HOTEL, name="flight"))),
        "step named twice: flight",
    ),
    "a message named twice": (
        lambda: replace(TRIP, steps=(FLIGHT, replace(HOTEL, do="BookFlight"))),
        "message named twice: BookFlight",
    ),
    "a step's name that splits a message id": (
        lambda: replace(TRIP, steps=(replace(FLIGHT, name="flight:out"), VISA, MAIL)),
        "'flight:out' is no name",
    ),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_definition_that_contradicts_itself_is_refused(wrong: str) -> None:
    make, reason = REFUSED[wrong]
    with pytest.raises(InvalidDefinition, match=reason):
        make()


def test_the_pieces_of_the_refused_ones_are_good_in_the_right_order() -> None:
    saga = replace(TRIP, steps=(FLIGHT, HOTEL, VISA, MAIL))
    assert [step.name for step in saga.compensatable] == ["flight", "hotel"]
    assert saga.terminal == {"READY", "CALLED_OFF"}


def test_what_each_event_does_follows_from_the_steps_of_any_definition() -> None:
    for saga in (TRIP, CHECKOUT, RETURN_ORDER):
        kinds = [kind for step in saga.steps for kind in (step.done, step.failed, step.undone) if kind]
        assert saga.event_kinds == (saga.started_by, *kinds)
        for event in (Event("saga", f"saga:{kind}", kind, None) for kind in kinds):
            assert decide(saga, None, event, 1) == Decision(parked="unknown_saga")


def test_a_reaction_of_its_own_is_what_decides() -> None:
    saga = replace(TRIP, reactions={"TripWanted": lambda turn: Decision(parked="not_today")})
    event = Event("saga", "saga:wanted", "TripWanted", None)
    assert decide(saga, None, event, 1) == Decision(parked="not_today")
    assert decide(TRIP, None, event, 1).path == ("WANTED", "BOOKING_FLIGHT")


def test_line_10_every_compensatable_step_of_the_checkout_has_do_undo_and_confirm() -> None:
    assert [(s.do, s.undo, s.confirm) for s in CHECKOUT.compensatable] == [
        ("ReserveInventory", "CompensateInventory", "ConfirmInventory"),
        ("ProcessPayment", "CompensatePayment", "ConfirmPayment"),
        ("CreateOrder", "CompensateOrder", "ConfirmOrder"),
    ]


def test_clearing_the_cart_is_the_pivot() -> None:
    assert [step.name for step in CHECKOUT.steps if step.step_class is StepClass.PIVOT] == ["cart"]
