"""An operator's word on a payment: refused while a call could still land, checked, recorded with its name."""

import pytest
from tests.samples import saga_id
from tests.unit.services.payment_gateway.payment_harness import SAGA, PaymentHarness

from holdfast.bus.memory import MemoryBus
from holdfast.contracts.topics import PARTITIONS_EMBEDDED
from holdfast.messaging.components import Ports
from holdfast.messaging.fence import FenceState
from holdfast.messaging.pruner import Retention
from holdfast.runtime.problems import Problem
from holdfast.services.payment_gateway.charging import KEY_LIFETIME_MS, LEASE_MS
from holdfast.services.payment_gateway.domain import (
    Declined,
    ProviderRequest,
    ProviderResult,
    Succeeded,
    Unknown,
)
from holdfast.services.payment_gateway.handlers import PaymentTransaction
from holdfast.services.payment_gateway.main import pruner
from holdfast.services.payment_gateway.payment_operator import PaymentOperator, Verdict

NOT_FOUND = Unknown("not_found")
LONG_MS = 2_000_000_000_000
"""Far more than lies between any test's saga ids and its clock."""


class Office:
    """A desk, and a payment that is unknown."""

    def __init__(self) -> None:
        self.world = PaymentHarness()
        self.desk = PaymentOperator(self.world.store, self.world.loop, self.world.provider)
        self.world.command("do")
        self.world.charge(Unknown("timeout"))

    def says(self, outcome: str, *answers: ProviderResult, charge_id: str = "") -> str:
        """Say it while the provider shows `answers`; return the refusal's code, empty where it counts."""
        self.world.provider.answers = list(answers)
        try:
            self.desk.resolve(SAGA, Verdict(outcome, "olga", "called the bank", charge_id))
        except Problem as problem:
            return problem.kind.code
        return ""

    def events(self) -> list[str]:
        batches = [batch for _, batch in self.world.rows("outbox").values()]
        return [dict(message.headers)["ce_type"].decode() for batch in batches for message in batch]

    def pruned(self) -> int:
        """Do a pass of a pruner that keeps rows for half of `LONG_MS`; return how many rows it deleted."""
        world = self.world
        ports: Ports[PaymentTransaction] = Ports(
            world.store, MemoryBus(lambda: 0.0), lambda: world.now_ms, "me", PARTITIONS_EMBEDDED
        )
        passing = pruner(ports, Retention(LONG_MS // 2, LONG_MS // 2, LONG_MS))
        while not passing.passes:
            passing.prune_page()
        return passing.rows["fence"]


@pytest.fixture
def office() -> Office:
    return Office()


def test_not_charged_counts_only_when_no_call_under_the_key_can_land(office: Office) -> None:
    assert office.says("not_charged", NOT_FOUND) == "payment_key_usable"
    office.world.now_ms += KEY_LIFETIME_MS
    office.world.loop.claim()
    assert office.says("not_charged", NOT_FOUND) == "payment_call_under_way"
    office.world.now_ms += LEASE_MS
    assert office.says("not_charged", Succeeded("pi_1")) == "provider_disagrees"
    assert office.says("not_charged", Unknown("status_processing")) == "provider_disagrees"
    assert office.says("not_charged", Unknown("connection_lost")) == "dependency_unavailable"
    assert office.events() == []
    assert office.says("not_charged", NOT_FOUND) == ""
    assert office.world.fence().state is FenceState.REFUSED
    assert office.events() == ["PaymentFailed"]
    assert office.says("not_charged", NOT_FOUND) == "payment_not_open"


def test_a_failure_stored_under_the_key_is_all_that_any_call_can_get(office: Office) -> None:
    office.world.advance_to_next_call()
    office.world.charge(Unknown("stored_http_500"))
    assert office.says("not_charged", NOT_FOUND) == ""
    assert office.events() == ["PaymentFailed"]


def test_charged_counts_when_the_provider_shows_the_charge(office: Office) -> None:
    assert office.says("charged", Unknown("another_payment"), charge_id="pi_9") == "provider_disagrees"
    assert office.says("charged", Declined("lost_card", ""), charge_id="pi_9") == "provider_disagrees"
    assert office.says("charged", Succeeded("pi_9"), charge_id="pi_9") == ""
    assert office.world.provider.calls[-1].ask is ProviderRequest.SHOW_CHARGE
    assert office.world.provider.calls[-1].payment.charge_id == "pi_9"
    assert office.world.payment().charge_id == "pi_9"
    assert office.events() == ["PaymentProcessed"]


def test_refunded_counts_when_the_provider_shows_the_refund(office: Office) -> None:
    assert office.says("refunded", Succeeded("re_9")) == "payment_not_open"
    office.world.advance_to_next_call()
    office.world.charge(Succeeded("pi_1"))
    office.world.command("undo")
    office.world.charge(Declined("charge_disputed", "no"))
    [owed], _ = office.desk.page("", 10, "owed")
    assert owed.payment.last_error == "refund refused: charge_disputed"
    assert office.says("refunded", NOT_FOUND) == "provider_disagrees"
    assert office.says("refunded", Succeeded("re_9")) == ""
    assert office.world.fence().state is FenceState.UNDONE
    assert office.events() == ["PaymentProcessed", "PaymentCompensated"]
    assert office.desk.page("", 10, "owed")[0] == []


def test_a_charge_that_lands_after_a_person_said_there_is_none_is_refunded_and_alarmed(
    office: Office,
) -> None:
    office.world.now_ms += KEY_LIFETIME_MS
    [late] = office.world.loop.claim()
    office.world.now_ms += LEASE_MS
    assert office.says("not_charged", NOT_FOUND) == ""
    office.world.loop.record([(late, Succeeded("pi_late"))])
    assert office.world.loop.alarms["stray_charge"] == 1
    assert office.desk.page("", 10, "owed")[0][0].payment.charge_id == "pi_late"
    office.world.charge(Succeeded("re_late"))
    assert office.world.payment().refund_id == "re_late"
    assert office.events() == ["PaymentFailed"], "the saga was answered before"
    assert office.world.timers() == []


def test_nothing_is_pruned_while_money_is_owed(office: Office) -> None:
    office.world.now_ms += KEY_LIFETIME_MS
    [late] = office.world.loop.claim()
    office.world.now_ms += LEASE_MS
    assert office.says("not_charged", NOT_FOUND) == ""
    office.world.loop.record([(late, Succeeded("pi_late"))])
    office.world.now_ms += LONG_MS
    assert office.pruned() == 0
    assert office.world.charge(Succeeded("re_late")) == []
    office.world.now_ms += LONG_MS
    assert office.pruned() == 1
    assert office.world.payment().refund_id == "re_late"


def test_unknown_payments_are_listed_page_by_page(office: Office) -> None:
    for n in (2, 3):
        office.world.command("do", saga=saga_id(n))
    office.world.charge(Unknown("http_500"), Unknown("timeout"))
    first, _ = office.desk.page("", 2, "unknown")
    rest, _ = office.desk.page(first[-1].payment.saga_id, 2, "unknown")
    assert [row.payment.saga_id for row in (*first, *rest)] == [SAGA, saga_id(2), saga_id(3)]


def test_a_hint_has_the_provider_asked_at_once(office: Office) -> None:
    assert office.desk.hint(SAGA)
    assert office.world.charge(Succeeded("pi_1")) == ["PaymentProcessed"]
    assert not office.desk.hint(SAGA), "there is nothing to ask any more"
