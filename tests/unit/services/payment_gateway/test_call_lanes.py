"""Lanes: which call is in which, and how many of each may be under way."""

import pytest
from tests.samples import saga_id

from holdfast.services.payment_gateway.call_lanes import (
    CALLS_MAX,
    LANES,
    SLOW_AFTER_S,
    SLOW_FACTOR,
    Lane,
    UnderWay,
    connections,
    lane_of,
    places,
    room,
)
from holdfast.services.payment_gateway.domain import Payment, ProviderCall, ProviderRequest

FRESH_CHARGES, FRESH_REFUNDS, FAILED_CHARGES, FAILED_REFUNDS = LANES


def call(ask: ProviderRequest, attempt: int = 1, number: int = 1) -> ProviderCall:
    return ProviderCall(ask, Payment(saga_id(number), "ada", "pm_card_visa", 300, "GBP"), attempt)


def under_way(count: int, began_s: float, attempt: int = 1) -> list[UnderWay]:
    return [UnderWay(call(ProviderRequest.CHARGE, attempt, number), began_s) for number in range(count)]


@pytest.mark.parametrize(
    ("ask", "attempt", "lane"),
    [
        (ProviderRequest.CHARGE, 1, FRESH_CHARGES),
        (ProviderRequest.CHARGE, 2, FAILED_CHARGES),
        (ProviderRequest.FIND_CHARGE, 3, FAILED_CHARGES),
        (ProviderRequest.REFUND, 1, FRESH_REFUNDS),
        (ProviderRequest.FIND_REFUND, 2, FAILED_REFUNDS),
    ],
)
def test_a_calls_lane_is_its_verb_and_whether_it_is_the_first(
    ask: ProviderRequest, attempt: int, lane: Lane
) -> None:
    assert lane_of(call(ask, attempt)) == lane


def test_what_failed_before_takes_no_place_of_fresh_work_nor_refunds_of_charges() -> None:
    full = under_way(places(FAILED_CHARGES), 0.0, attempt=2)
    assert room(FAILED_CHARGES, full, 0.0) == 0
    assert room(FRESH_CHARGES, full, 0.0) == places(FRESH_CHARGES) == CALLS_MAX
    assert room(FRESH_REFUNDS, full, 0.0) == places(FRESH_REFUNDS)
    assert room(FRESH_REFUNDS, under_way(CALLS_MAX, 0.0), 0.0) == places(FRESH_REFUNDS)


def test_calls_that_hang_give_up_their_places_to_a_bound() -> None:
    hanging = under_way(CALLS_MAX, 0.0)
    assert room(FRESH_CHARGES, hanging, SLOW_AFTER_S - 0.1) == 0
    assert room(FRESH_CHARGES, hanging, SLOW_AFTER_S) == CALLS_MAX
    assert room(FRESH_CHARGES, under_way(SLOW_FACTOR * CALLS_MAX - 3, 0.0), SLOW_AFTER_S) == 3
    assert room(FRESH_CHARGES, under_way(SLOW_FACTOR * CALLS_MAX, 0.0), SLOW_AFTER_S) == 0


def test_there_are_connections_for_all_that_can_be_under_way() -> None:
    assert connections() == SLOW_FACTOR * sum(places(lane) for lane in LANES)
    assert connections(1) == SLOW_FACTOR * len(LANES), "the smallest lane has a place"
