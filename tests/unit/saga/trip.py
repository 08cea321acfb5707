"""A saga that has nothing to do with checkouts: the engine must not care. It has a step after its pivot."""

from holdfast.saga.definition import SagaDefinition, Step, StepClass

FLIGHT = Step(
    name="flight",
    step_class=StepClass.COMPENSATABLE,
    pending="BOOKING_FLIGHT",
    finished="FLIGHT_BOOKED",
    do="BookFlight",
    done="FlightBooked",
    failed="FlightFull",
    undo="CancelFlight",
    undone="FlightCanceled",
    confirm="ConfirmFlight",
    command=lambda saga: f"a flight for {saga.data.decode()}",
)
VISA = Step(
    name="visa",
    step_class=StepClass.PIVOT,
    pending="ASKING_FOR_VISA",
    finished="VISA_GRANTED",
    do="AskForVisa",
    done="VisaGranted",
    failed="VisaRefused",
    command=lambda _: "a visa",
)
MAIL = Step(
    name="mail",
    step_class=StepClass.RETRIABLE,
    pending="MAILING_TICKETS",
    finished="READY",
    do="MailTickets",
    done="TicketsMailed",
    command=lambda _: "tickets",
)

TRIP = SagaDefinition(
    name="trip",
    version=7,
    started_by="TripWanted",
    initial="WANTED",
    compensating="UNDOING_TRIP",
    failed_state="CALLED_OFF",
    steps=(FLIGHT, VISA, MAIL),
    completed_event="TripReady",
    completed=lambda _: "have a nice trip",
    failed_event="TripCalledOff",
    failed=lambda saga: saga.reason,
    refusal=lambda event: (str(event.payload), ""),
    empty_payload=None,
)
