"""The provider fails a part of all payments, for ever: the others are nearly as quick, none is undone.

The whole platform in virtual time. Failing is quick (an error) or slow (no answer), by card or by chance.
"""

import pytest
from tests.simulation.partial_outage import Load, after_a_crowd, check, steady

from holdfast.simulation.provider import MASTERCARD, Outage

SHARES = (0.1, 0.3, 0.6)


def keep_failing() -> None:
    """Let four keys fail for 15 s while no other shopper comes."""
    assert check(after_a_crowd(4, 5, behind_ms=15_000), Outage(MASTERCARD)).opened == 0


pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("hangs", [False, True], ids=["errors", "hangs"])
@pytest.mark.parametrize("share", SHARES)
def test_a_card_that_fails_delays_no_other(share: float, *, hangs: bool) -> None:
    seen = check(steady(150, 10, share), Outage(MASTERCARD, hangs=hangs))
    assert seen.opened == 0


@pytest.mark.parametrize("hangs", [False, True], ids=["errors", "hangs"])
@pytest.mark.parametrize("share", SHARES)
def test_payments_that_fail_by_chance_delay_no_other(share: float, *, hangs: bool) -> None:
    seen = check(steady(150, 10), Outage(share=share, hangs=hangs))
    assert seen.opened == 0


@pytest.mark.parametrize("hangs", [False, True], ids=["errors", "hangs"])
@pytest.mark.parametrize("failing", [8, 60])
def test_many_failures_on_an_idle_platform_delay_no_later_payment(failing: int, *, hangs: bool) -> None:
    seen = check(after_a_crowd(failing, 20), Outage(MASTERCARD, hangs=hangs))
    assert len(seen.latencies_ms) == 20


def test_a_few_payments_that_keep_failing_open_nothing() -> None:
    keep_failing()


def test_an_outage_of_all_opens_the_breaker_soon_and_its_end_is_noticed() -> None:
    load = Load(steady(100, 10), Outage(share=1.0))
    load.run(0)
    breaker = load.caller.breaker
    assert breaker.is_open()
    assert breaker.rejected == 0, "what it would refuse is not even claimed"
    begun = load.world.faults.fired["outage"]
    assert begun < 100, "most wait without an attempt"
    load.world.provider.outage = None
    seen = load.go_on(60_000)
    assert (seen.undone, seen.waiting, len(seen.latencies_ms)) == ([], 0, 100)
    assert breaker.state == "closed"
