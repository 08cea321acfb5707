"""A saga's conversation, step by step: the events that it gets, its messages, its state.

`a_checkout().given("CheckoutInitiated").expect("ReserveInventory")` and so on; each line checks itself.
"""

from typing import Any, Self

import msgspec
from tests.samples import SAGA, SAMPLES

from holdfast.contracts.codec import encode
from holdfast.contracts.messages import Refused
from holdfast.saga.definition import SagaDefinition
from holdfast.saga.machine import decide
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
from holdfast.sagas.checkout import CHECKOUT


class Conversation:
    """One saga and all that was said. `heard` answers with `Decision`s; the rest looks at the last one."""

    def __init__(self, definition: SagaDefinition, payloads: dict[str, Any]) -> None:
        self.definition = definition
        self.payloads = payloads
        self.saga: SagaInstance | None = None
        self.now_ms = 1_000
        self.path: list[str] = ["NONE"]
        self.timers: set[Timer] = set()
        self.last = Decision()
        self.said: list[Outgoing] = []
        self._firings = 0

    def hear(self, kind: str, payload: Any, suffix: str) -> Decision:
        """Let one event meet the saga, and keep what follows."""
        raw = encode(payload) if not isinstance(payload, DeadlinePassed) else b""
        event = Event(SAGA, f"{SAGA}:{suffix}", kind, payload, raw)
        self.now_ms += 1
        self.last = decide(self.definition, self.saga, event, self.now_ms)
        if self.last.saga is not None:
            self.saga = self.last.saga
            self.path += self.last.path
        self.timers -= set(self.last.clear_timers)
        self.timers |= set(self.last.set_timers)
        self.said += self.last.messages
        return self.last

    # -- what it hears

    def given(self, *kinds: str, **fields: Any) -> Self:
        """Let it hear these events, one after the other; `fields` replace those of the sample payloads."""
        for kind in kinds:
            payload = self.payloads[kind]
            if fields:
                payload = msgspec.structs.replace(payload, **fields)
            self.hear(kind, payload, kind)
        return self

    def given_deadline(self, step: str, verb: Verb = Verb.DO, *, overdue: bool = False) -> Self:
        """Let a timer fire."""
        self._firings += 1
        self.hear(DEADLINE_PASSED, DeadlinePassed(step, verb, overdue), f"{step}:{verb}:{self._firings}")
        return self

    def given_cancellation(self) -> Self:
        """Let a person call it off."""
        self.hear(CANCELLATION_REQUESTED, Refused("canceled", "by the shopper"), "cancel")
        return self

    # -- what is expected of it

    def expect(self, *kinds: str) -> Self:
        """It answered the last event with exactly these messages, in this order."""
        assert tuple(message.kind for message in self.last.messages) == kinds
        return self

    def in_state(self, state: str, *, owed: tuple[str, ...] = ()) -> Self:
        """It stands in this state, owing these undos."""
        assert self.saga is not None
        assert (self.saga.state, self.saga.owed) == (state, owed)
        return self

    def ignored(self, reason: str, *, recorded: bool = True) -> Self:
        """The last event changed nothing, for this reason."""
        assert (self.last.ignored, self.last.parked, self.last.saga) == (reason, "", None)
        assert self.last.recorded is recorded
        return self

    def parked(self, reason: str) -> Self:
        """The last event is for a person to look at, and did nothing else."""
        assert self.last == Decision(parked=reason)
        return self

    def awaiting(self, *timers: tuple[str, Verb]) -> Self:
        """Exactly these deadlines are running."""
        assert self.timers == {Timer(step, verb) for step, verb in timers}
        return self


def a_checkout() -> Conversation:
    """Begin with a checkout that does not exist yet."""
    return Conversation(CHECKOUT, dict(SAMPLES))


def a_checkout_awaiting(state: str) -> Conversation:
    """Return a checkout that has come as far as `state`, on the straight way."""
    talk = a_checkout()
    for kind in ("CheckoutInitiated", "InventoryReserved", "PaymentProcessed", "OrderCreated", "CartCleared"):
        talk.given(kind)
        if talk.saga is not None and talk.saga.state == state:
            return talk
    raise AssertionError(f"{state} is not on the way")
