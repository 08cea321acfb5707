"""The settlement: what is wrong with a charge, what is done about it, and how far each pass goes back."""

import pytest
from tests.samples import SAMPLES, saga_id
from tests.unit.services.payment_gateway.payment_harness import SAGA, PaymentHarness, ScriptedProvider

from holdfast.contracts.messages import ProcessPayment
from holdfast.messaging.fence import FenceState
from holdfast.services.payment_gateway.charging import KEY_LIFETIME_MS, LEASE_MS
from holdfast.services.payment_gateway.domain import (
    REFUND_FAILED,
    Declined,
    NotSent,
    Payment,
    Succeeded,
    Unknown,
)
from holdfast.services.payment_gateway.settlement import (
    DEEP_BACK_MS,
    DEEP_EVERY_MS,
    OVERLAP_MS,
    ListedCharge,
    ProviderSilent,
    Settlement,
    judge,
)

COMMAND = SAMPLES["ProcessPayment"]
assert isinstance(COMMAND, ProcessPayment)
EVERY_MS = 10_000
CHARGE = ListedCharge("ch_1", "pi_1", SAGA, COMMAND.amount_minor, COMMAND.currency, True, False, 0)
PAYMENT = Payment(SAGA, "ada", "pm_card_visa", COMMAND.amount_minor, COMMAND.currency)


class ListingProvider(ScriptedProvider):
    """Lists `listed`, newest first, two a page; None where it is silent."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[ListedCharge] | None = []
        self.asked: list[str] = []

    def charges(self, after: str = "", intent: str = "") -> list[ListedCharge]:
        self.asked.append(after)
        if self.listed is None:
            raise ProviderSilent("away")
        found = [charge for charge in self.listed if intent in ("", charge.reference)]
        ids = [charge.id for charge in found]
        begin = ids.index(after) + 1 if after else 0
        return found[begin : begin + 2]


class ListingWorld(PaymentHarness):
    """A payment-gateway whose provider lists its charges."""

    def __init__(self) -> None:
        super().__init__()
        self.listing = ListingProvider()
        self.settlement = Settlement(
            self.parts.processor, self.loop, self.listing, lambda: self.now_ms, EVERY_MS
        )

    def settle(self, *listed: ListedCharge) -> dict[str, int]:
        """Make a whole pass over this list; return the alarms so far."""
        self.listing.listed = list(listed)
        self.now_ms += EVERY_MS
        self.settlement.run_once()
        while self.settlement.run_once() < 1:
            pass
        return dict(self.loop.alarms)


@pytest.fixture
def world() -> ListingWorld:
    return ListingWorld()


@pytest.mark.parametrize(
    ("charge", "payment", "verdict"),
    [
        (CHARGE, PAYMENT._replace(charge_id="pi_1"), ""),
        (CHARGE, PAYMENT, "unknown"),
        (CHARGE, None, "orphan"),
        (CHARGE._replace(amount_minor=1), PAYMENT, "orphan"),
        (CHARGE._replace(currency="USD"), PAYMENT._replace(charge_id="pi_1"), "orphan"),
        (CHARGE, PAYMENT._replace(charge_id="pi_other"), "second"),
        (CHARGE, PAYMENT._replace(charge_id="pi_1", refund_id="re_1"), "owed"),
        (CHARGE._replace(refunded=True), PAYMENT._replace(charge_id="pi_1", refund_id="re_1"), ""),
        (CHARGE._replace(refunded=True), None, ""),
    ],
)
def test_a_charge_is_judged(charge: ListedCharge, payment: Payment | None, verdict: str) -> None:
    assert judge(charge, payment) == verdict


def test_a_charge_that_we_wait_for_is_adopted(world: ListingWorld) -> None:
    world.command("do")
    world.charge(Unknown("timeout"))
    assert world.settle(CHARGE) == {}
    assert (world.fence().state, world.payment().charge_id) == (FenceState.DONE, "pi_1")
    assert world.timers() == []


def test_a_charge_under_a_closed_row_is_refunded_and_alarmed(world: ListingWorld) -> None:
    world.command("do")
    world.charge(Declined("lost_card", "no"))
    assert world.settle(CHARGE) == {"stray_charge": 1}
    assert world.charge(Succeeded("re_1")) == []
    assert world.payment().refund_id == "re_1"
    assert world.fence().state is FenceState.REFUSED
    assert world.settle(CHARGE._replace(refunded=True)) == {"stray_charge": 1}


def test_what_belongs_to_nobody_is_alarmed_once(world: ListingWorld) -> None:
    world.command("do")
    world.charge(Succeeded("pi_1"))
    listed = (
        CHARGE,
        CHARGE._replace(id="ch_2", reference="pi_2"),
        CHARGE._replace(id="ch_3", reference="pi_3", saga_id=saga_id(9)),
        CHARGE._replace(id="ch_4", reference="pi_4", saga_id="not a saga"),
        CHARGE._replace(id="ch_5", reference="pi_5", saga_id="", succeeded=False),
    )
    for _ in range(2):
        assert world.settle(*listed) == {"second_charge": 1, "orphan_charge": 2}
    assert world.payment().charge_id == "pi_1"


def test_a_refund_that_failed_after_all_is_owed_again(world: ListingWorld) -> None:
    world.command("do")
    world.charge(Succeeded("pi_1"))
    world.command("undo")
    world.charge(Succeeded("re_1"))
    world.listing.answers = [Succeeded("re_1")]
    assert world.settle(CHARGE) == {}, "the list was older than the refund"
    world.listing.answers = [Declined("refund_failed", "")]
    assert world.settle(CHARGE) == {"refund_failed": 1}
    assert world.payment().last_error == REFUND_FAILED
    assert [timer.key.verb for timer in world.timers()] == ["undo"]
    assert world.fence().state is FenceState.UNDONE


def test_a_refund_of_which_a_silent_provider_tells_nothing_is_asked_about_again(world: ListingWorld) -> None:
    world.command("do")
    world.charge(Succeeded("pi_1"))
    world.command("undo")
    world.charge(Succeeded("re_1"))
    world.listing.answers = [Unknown("http_503"), NotSent(1_000), Declined("refund_partial", "")]
    world.listing.listed = [CHARGE]
    for _ in range(2):
        with pytest.raises(ProviderSilent):
            world.settlement.look(SAGA, "pi_1")
    assert world.settle(CHARGE) == {"refund_failed": 1}


def test_a_short_walk_goes_back_to_where_its_last_pass_began_and_a_long_one_a_month_once_a_day(
    world: ListingWorld,
) -> None:
    now = 10 * DEEP_BACK_MS
    refunded = CHARGE._replace(refunded=True)
    ages = [
        0,
        OVERLAP_MS // 2,
        2 * OVERLAP_MS,
        3 * OVERLAP_MS,
        DEEP_BACK_MS,
        DEEP_BACK_MS + 2,
        2 * DEEP_BACK_MS,
    ]
    listed = [refunded._replace(id=f"ch_{n}", created_ms=now - age) for n, age in enumerate(ages)]
    world.settle(*listed)
    assert world.listing.asked == ["", "ch_1", "", "ch_1", "ch_3"]
    world.listing.asked.clear()
    newer = [refunded._replace(id="ch_new", created_ms=now + 3 * OVERLAP_MS), *listed]
    world.settle(*newer)
    assert world.listing.asked == ["", "ch_0"], "an hour before the newest of the last pass"
    world.now_ms += DEEP_EVERY_MS
    world.listing.asked.clear()
    world.settle(*listed)
    assert world.listing.asked[-3:] == ["", "ch_1", "ch_3"]


def test_a_silent_provider_is_asked_again_where_it_fell_silent(world: ListingWorld) -> None:
    world.listing.listed = [CHARGE._replace(id=f"ch_{n}", refunded=True) for n in range(3)]
    world.settlement.run_once()
    listed, world.listing.listed = world.listing.listed, None
    world.settlement.run_once()
    world.listing.listed = listed
    world.settlement.run_once()
    assert world.listing.asked == ["", "ch_1", "ch_1"]


def test_a_call_still_under_way_that_lands_later_changes_nothing_more(world: ListingWorld) -> None:
    world.command("do")
    world.now_ms += KEY_LIFETIME_MS
    [late] = world.loop.claim()
    assert world.settle(CHARGE) == {}
    world.now_ms += LEASE_MS
    world.loop.record([(late, Succeeded("pi_1"))])
    assert (world.fence().state, world.loop.alarms) == (FenceState.DONE, {})
