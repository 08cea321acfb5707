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


class Harness:
    """A harness, and a payment that is unknown."""

    def __init__(self) -> None:
        self.world = PaymentHarness()
        self.harness = PaymentOperator(self.world.store, self.world.loop, self.world.provider)
        self.world.command("do")
        self.world.charge(Unknown("timeout"))

    def says(self, outcome: str, *answers: ProviderResult, charge_id: str = "") -> str:
        """Say it while the provider shows `answers`; return the refusal's code, empty where it counts."""
        self.world.provider.answers = list(answers)
        try:
            self.harness.resolve(SAGA, Verdict(outcome, "olga", "called the bank", charge_id))
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
def harness() -> Harness:
    return Harness()


def test_not_charged_counts_only_when_no_call_under_the_key_can_land(harness: Harness) -> None:
    assert harness.says("not_charged", NOT_FOUND) == "payment_key_usable"
    harness.world.now_ms += KEY_LIFETIME_MS
    harness.world.loop.claim()
    assert harness.says("not_charged", NOT_FOUND) == "payment_call_under_way"
    harness.world.now_ms += LEASE_MS
    assert harness.says("not_charged", Succeeded("pi_1")) == "provider_disagrees"
    assert harness.says("not_charged", Unknown("status_processing")) == "provider_disagrees"
    assert harness.says("not_charged", Unknown("connection_lost")) == "dependency_unavailable"
    assert harness.events() == []
    assert harness.says("not_charged", NOT_FOUND) == ""
    assert harness.world.fence().state is FenceState.REFUSED
    assert harness.events() == ["PaymentFailed"]
    assert harness.says("not_charged", NOT_FOUND) == "payment_not_open"


def test_a_failure_stored_under_the_key_is_all_that_any_call_can_get(harness: Harness) -> None:
    harness.world.advance_to_next_call()
    harness.world.charge(Unknown("stored_http_500"))
    assert harness.says("not_charged", NOT_FOUND) == ""
    assert harness.events() == ["PaymentFailed"]


def test_charged_counts_when_the_provider_shows_the_charge(harness: Harness) -> None:
    assert harness.says("charged", Unknown("another_payment"), charge_id="pi_9") == "provider_disagrees"
    assert harness.says("charged", Declined("lost_card", ""), charge_id="pi_9") == "provider_disagrees"
    assert harness.says("charged", Succeeded("pi_9"), charge_id="pi_9") == ""
    assert harness.world.provider.calls[-1].ask is ProviderRequest.SHOW_CHARGE
    assert harness.world.provider.calls[-1].payment.charge_id == "pi_9"
    assert harness.world.payment().charge_id == "pi_9"
    assert harness.events() == ["PaymentProcessed"]


def test_refunded_counts_when_the_provider_shows_the_refund(harness: Harness) -> None:
    assert harness.says("refunded", Succeeded("re_9")) == "payment_not_open"
    harness.world.advance_to_next_call()
    harness.world.charge(Succeeded("pi_1"))
    harness.world.command("undo")
    harness.world.charge(Declined("charge_disputed", "no"))
    [owed], _ = harness.harness.page("", 10, "owed")
    assert owed.payment.last_error == "refund refused: charge_disputed"
    assert harness.says("refunded", NOT_FOUND) == "provider_disagrees"
    assert harness.says("refunded", Succeeded("re_9")) == ""
    assert harness.world.fence().state is FenceState.UNDONE
    assert harness.events() == ["PaymentProcessed", "PaymentCompensated"]
    assert harness.harness.page("", 10, "owed")[0] == []


def test_a_charge_that_lands_after_a_person_said_there_is_none_is_refunded_and_alarmed(
    harness: Harness,
) -> None:
    harness.world.now_ms += KEY_LIFETIME_MS
    [late] = harness.world.loop.claim()
    harness.world.now_ms += LEASE_MS
    assert harness.says("not_charged", NOT_FOUND) == ""
    harness.world.loop.record([(late, Succeeded("pi_late"))])
    assert harness.world.loop.alarms["stray_charge"] == 1
    assert harness.harness.page("", 10, "owed")[0][0].payment.charge_id == "pi_late"
    harness.world.charge(Succeeded("re_late"))
    assert harness.world.payment().refund_id == "re_late"
    assert harness.events() == ["PaymentFailed"], "the saga was answered before"
    assert harness.world.timers() == []


def test_nothing_is_pruned_while_money_is_owed(harness: Harness) -> None:
    harness.world.now_ms += KEY_LIFETIME_MS
    [late] = harness.world.loop.claim()
    harness.world.now_ms += LEASE_MS
    assert harness.says("not_charged", NOT_FOUND) == ""
    harness.world.loop.record([(late, Succeeded("pi_late"))])
    harness.world.now_ms += LONG_MS
    assert harness.pruned() == 0
    assert harness.world.charge(Succeeded("re_late")) == []
    harness.world.now_ms += LONG_MS
    assert harness.pruned() == 1
    assert harness.world.payment().refund_id == "re_late"


def test_unknown_payments_are_listed_page_by_page(harness: Harness) -> None:
    for n in (2, 3):
        harness.world.command("do", saga=saga_id(n))
    harness.world.charge(Unknown("http_500"), Unknown("timeout"))
    first, _ = harness.harness.page("", 2, "unknown")
    rest, _ = harness.harness.page(first[-1].payment.saga_id, 2, "unknown")
    assert [row.payment.saga_id for row in (*first, *rest)] == [SAGA, saga_id(2), saga_id(3)]


def test_a_hint_has_the_provider_asked_at_once(harness: Harness) -> None:
    assert harness.harness.hint(SAGA)
    assert harness.world.charge(Succeeded("pi_1")) == ["PaymentProcessed"]
    assert not harness.harness.hint(SAGA), "there is nothing to ask any more"
