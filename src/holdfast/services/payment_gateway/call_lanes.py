"""The lanes of calls to the provider: each lane has its own places, so that no lane can block another.

A call's lane is its verb (charge or refund) and whether it is the first attempt. Pure: callers pass the time.
"""

from collections.abc import Iterable
from typing import NamedTuple

from holdfast.services.payment_gateway.domain import ProviderCall

CALLS_MAX = 64
"""Places for first charges; charges that failed before have half as many, each lane of refunds a quarter."""
SLOW_AFTER_S = 1.0
SLOW_FACTOR = 4
"""A call frees its place after `SLOW_AFTER_S`; at most `SLOW_FACTOR` times a lane's places are under way."""
HELD_MAX_S = 30.0
"""The longest time that "too many requests" holds back all calls; the key that got it waits in full."""


class Lane(NamedTuple):
    """Calls of one verb, either first attempts or repeated ones."""

    verb: str
    fresh: bool


class ClaimLimit(NamedTuple):
    """How many due calls of one lane to claim: the least often tried first, of these the oldest or newest."""

    verb: str
    fresh: bool
    calls_max: int
    newest_first: bool = False


LANES = (Lane("do", True), Lane("undo", True), Lane("do", False), Lane("undo", False))


def places(lane: Lane, calls_max: int = CALLS_MAX) -> int:
    """Return how many calls of this lane may be under way at once, not counting slow ones."""
    share = 4 if lane.verb == "undo" else 1 if lane.fresh else 2
    return max(1, calls_max // share)


def limits(calls_max: int = CALLS_MAX) -> list[ClaimLimit]:
    """Return the limits of a claim when nothing is under way."""
    return [ClaimLimit(*lane, places(lane, calls_max)) for lane in LANES]


def connections(calls_max: int = CALLS_MAX) -> int:
    """Return how many calls of all lanes can be under way at most."""
    return SLOW_FACTOR * sum(places(lane, calls_max) for lane in LANES)


def lane_of(call: ProviderCall) -> Lane:
    """Return the lane that a call is in."""
    return Lane(call.verb, call.is_first)


class UnderWay(NamedTuple):
    """A call that has begun and whose answer is not yet recorded."""

    call: ProviderCall
    began_s: float


def room(lane: Lane, under_way: Iterable[UnderWay], now_s: float, calls_max: int = CALLS_MAX) -> int:
    """Return how many more calls of this lane may begin."""
    began = [each.began_s for each in under_way if lane_of(each.call) == lane]
    prompt = sum(1 for began_s in began if now_s - began_s < SLOW_AFTER_S)
    places_max = places(lane, calls_max)
    return max(0, min(places_max - prompt, SLOW_FACTOR * places_max - len(began)))
