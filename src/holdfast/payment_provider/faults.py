"""The faults that can be scripted for a request or a webhook.

A rule names its fault and the requests that it hits; `fault_rules` counts them, `execution` applies them.
"""

from abc import ABC, abstractmethod
from hashlib import blake2b
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from holdfast.payment_provider.errors import ApiError, ProviderResponse, refusal, server_error
from holdfast.payment_provider.idempotency import in_use
from holdfast.payment_provider.operations import Later

Operation = Literal["charge", "refund", "cancel", "lookup", "webhook"]
Milliseconds = Annotated[int, Field(ge=0, le=86_400_000)]

WRITES = frozenset({"charge", "refund", "cancel"})
REQUESTS = WRITES | {"lookup"}


class FaultPlan(NamedTuple):
    """The faults of one request; by default it has none."""

    refuses: ApiError | None = None  # refused before executing; nothing is kept
    pause_ms: float = 0  # wait before executing, with the key in flight
    executes: bool = True
    arrives_ms: float | None = None  # executes after this, although its connection is cut
    instead: ProviderResponse | None = None  # answered and kept in place of the operation's own answer
    keeps_effect: bool = False  # ... although the operation had its effect
    later: Later | None = None
    silent_ms: float | None = None  # no answer: cut after this long
    blind: bool = False  # a look-up finds nothing


NO_FAULTS = FaultPlan()


class Rule(BaseModel):
    """Which requests a fault hits: only the first rule that fits a request is applied.

    `share` picks by a hash of idempotency key and seed, so that every run hits the same keys. `times` bounds
    how often the rule is applied in all, `per_key` how often for one key, `for_ms` how long the rule lasts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    fits: ClassVar[frozenset[str]] = REQUESTS

    operation: Operation
    payment_method: str | None = None
    share: float = Field(default=1.0, ge=0, le=1)
    seed: int = 0
    times: int | None = Field(default=None, ge=1)
    per_key: int | None = Field(default=None, ge=1)
    for_ms: Milliseconds | None = None

    @model_validator(mode="after")
    def _operation_fits(self) -> Self:
        if self.operation not in self.fits:
            raise ValueError(
                f"this does not happen to a {self.operation}, only to: {', '.join(sorted(self.fits))}"
            )
        return self

    def draw(self, subject: str, salt: str = "") -> float:
        """Return a number from 0 to 1, always the same for the same seed, subject and salt."""
        digest = blake2b(f"{self.seed}\0{salt}\0{subject}".encode(), digest_size=7).digest()
        return int.from_bytes(digest) / 2**56


class RequestRule(Rule, ABC):
    """A fault of requests."""

    @abstractmethod
    def plan(self, subject: str) -> FaultPlan:
        """Return the plan of faults for the request about `subject`."""


class Latency(RequestRule):
    do: Literal["latency"]
    ms: Milliseconds
    jitter_ms: Milliseconds = 0

    def plan(self, subject: str) -> FaultPlan:
        return FaultPlan(pause_ms=self.ms + self.jitter_ms * self.draw(subject, "jitter"))


class TimeoutBefore(RequestRule):
    """The request is lost; its connection is cut after `ms`."""

    do: Literal["timeout_before"]
    ms: Milliseconds = 0

    def plan(self, subject: str) -> FaultPlan:
        return FaultPlan(executes=False, silent_ms=self.ms)


class TimeoutAfter(RequestRule):
    """The effect is durable, the answer is lost; the connection is cut after `ms`."""

    do: Literal["timeout_after"]
    ms: Milliseconds = 0

    def plan(self, subject: str) -> FaultPlan:
        return FaultPlan(silent_ms=self.ms)


class Late(RequestRule):
    """The connection is cut after `hold_ms`, but the request still executes after `ms`."""

    fits = WRITES
    do: Literal["late"]
    ms: Milliseconds
    hold_ms: Milliseconds = 0

    def plan(self, subject: str) -> FaultPlan:
        return FaultPlan(arrives_ms=self.ms, silent_ms=self.hold_ms)


class ErrorStored(RequestRule):
    """A 5xx that is kept and repeated for the key, without or with the effect."""

    fits = WRITES
    do: Literal["error_stored", "error_stored_with_effect"]
    status: int = Field(default=500, ge=500, le=599)

    def plan(self, subject: str) -> FaultPlan:
        return FaultPlan(
            instead=server_error(self.status), keeps_effect=self.do == "error_stored_with_effect"
        )


class ErrorHeals(RequestRule):
    """A 5xx that is not kept under the key."""

    do: Literal["error_heals"]
    status: int = Field(default=500, ge=500, le=599)

    def plan(self, subject: str) -> FaultPlan:
        return FaultPlan(refuses=_passing(self.status, "An error occurred on our side.", kind="api_error"))


class KeyInFlight(RequestRule):
    fits = WRITES
    do: Literal["in_flight"]

    def plan(self, subject: str) -> FaultPlan:
        return FaultPlan(refuses=in_use(subject))


class LockTimeout(RequestRule):
    fits = WRITES
    do: Literal["lock_timeout"]

    def plan(self, subject: str) -> FaultPlan:
        message = "This object cannot be accessed right now because another API request is accessing it."
        return FaultPlan(refuses=_passing(429, message, code="lock_timeout"))


class RateLimit(RequestRule):
    do: Literal["rate_limit"]
    retry_after_s: int = Field(default=1, ge=0)

    def plan(self, subject: str) -> FaultPlan:
        message = "Too many requests hit the API too quickly."
        return FaultPlan(refuses=_passing(429, message, code="rate_limit", retry_after_s=self.retry_after_s))


class Unavailable(RequestRule):
    do: Literal["unavailable"]
    retry_after_s: int = Field(default=1, ge=0)

    def plan(self, subject: str) -> FaultPlan:
        message = "The service is unavailable."
        return FaultPlan(refuses=_passing(503, message, kind="api_error", retry_after_s=self.retry_after_s))


class Refuse(RequestRule):
    """A refund that is refused, with an answer that is kept."""

    fits = frozenset({"refund"})
    do: Literal["refuse"]
    code: Literal["charge_disputed", "refund_refused"] = "charge_disputed"

    def plan(self, subject: str) -> FaultPlan:
        return FaultPlan(instead=refusal("This charge can't be refunded.", code=self.code))


class EndsLater(RequestRule):
    """A charge is processing, a refund pending; the end comes after `ms`, even if the process restarts."""

    fits = frozenset({"charge", "refund"})
    do: Literal["succeed_later", "fail_later"]
    ms: Milliseconds = 1000

    def plan(self, subject: str) -> FaultPlan:
        return FaultPlan(later=Later(self.ms, "succeeded" if self.do == "succeed_later" else "failed"))


class Blind(RequestRule):
    """A look-up finds nothing, even if there is something."""

    fits = frozenset({"lookup"})
    do: Literal["blind"]

    def plan(self, subject: str) -> FaultPlan:
        return FaultPlan(blind=True)


class Duplicate(Rule):
    """A webhook is sent several times."""

    fits = frozenset({"webhook"})
    do: Literal["duplicate"]
    copies: int = Field(default=2, ge=2, le=100)


class Hold(Rule):
    """A webhook is sent `ms` late, so that later ones overtake it."""

    fits = frozenset({"webhook"})
    do: Literal["hold"]
    ms: Milliseconds = 1000


class Contradict(Rule):
    """A webhook that says the opposite is sent first."""

    fits = frozenset({"webhook"})
    do: Literal["contradict"]


RequestFault = (
    Latency
    | TimeoutBefore
    | TimeoutAfter
    | Late
    | ErrorStored
    | ErrorHeals
    | KeyInFlight
    | LockTimeout
    | RateLimit
    | Unavailable
    | Refuse
    | EndsLater
    | Blind
)
WebhookFault = Duplicate | Hold | Contradict
Fault = Annotated[RequestFault | WebhookFault, Field(discriminator="do")]


def _passing(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    retry_after_s: int | None = None,
) -> ApiError:
    headers = {"Stripe-Should-Retry": "true"}
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    return ApiError(status, message, kind=kind, code=code, headers=headers)
