"""The charge loop, every branch: claimed, called outside any transaction, recorded once."""

import pytest
from tests.samples import saga_id
from tests.unit.services.payment_gateway.payment_harness import SAGA, START_MS, PaymentHarness

from holdfast.contracts.codec import decode
from holdfast.contracts.messages import PaymentProcessed, Refused
from holdfast.messaging.fence import FenceState
from holdfast.services.payment_gateway.call_lanes import CALLS_MAX
from holdfast.services.payment_gateway.charging import HORIZON_MS, KEY_LIFETIME_MS, LEASE_MS
from holdfast.services.payment_gateway.domain import (
    REFUSED_REFUND_WAIT_MS,
    SAME_ERROR_MAX,
    Declined,
    ProviderRequest,
    ProviderResult,
    Succeeded,
    Unknown,
)

PAID = Succeeded("pi_1")
DECLINED = Declined("insufficient_funds", "not enough")


@pytest.fixture
def world() -> PaymentHarness:
    return PaymentHarness()


def asks(world: PaymentHarness) -> list[ProviderRequest]:
    """Return what the provider was asked, in order."""
    return [call.ask for call in world.provider.calls]


def test_line_16_a_do_records_the_intent_only_and_answers_nothing(world: PaymentHarness) -> None:
    assert world.command("do") == []
    assert (world.fence().state, world.fence().submitted) == (FenceState.RUNNING, False)
    assert (world.payment().amount_minor, world.payment().charge_id) == (3564, "")
    assert not world.provider.calls


def test_line_16_the_intent_is_marked_submitted_and_leased_before_the_call(world: PaymentHarness) -> None:
    world.command("do")
    seen: list[tuple[bool, int]] = []
    world.provider.during = lambda: seen.append((world.fence().submitted, world.timers()[0].due_ms))
    world.charge(PAID)
    assert seen == [(True, START_MS + LEASE_MS)]


def test_a_claim_ends_by_itself_after_the_time_that_was_set() -> None:
    world = PaymentHarness(claim_lease_ms=7_000)
    world.command("do")
    assert len(world.loop.claim()) == 1, "claimed, and its process gone"
    world.now_ms += 6_999
    assert world.loop.claim() == []
    world.now_ms += 1
    assert len(world.loop.claim()) == 1


def test_a_charge_is_recorded_with_its_event_and_nothing_is_left_to_do(world: PaymentHarness) -> None:
    world.command("do")
    assert world.charge(PAID) == ["PaymentProcessed"]
    assert (world.fence().state, world.payment().charge_id) == (FenceState.DONE, "pi_1")
    assert world.timers() == []
    assert world.loop.run_once() == 0
    assert world.command("do") == ["PaymentProcessed"], "the same answer again"
    answer = decode("PaymentProcessed", world.fence().reply)
    assert answer == PaymentProcessed("pi_1", 3564, "GBP")


def test_a_decline_is_recorded_with_its_event_and_repeated(world: PaymentHarness) -> None:
    world.command("do")
    assert world.charge(DECLINED) == ["PaymentFailed"]
    assert world.fence().state is FenceState.REFUSED
    assert world.timers() == []
    assert world.command("do") == ["PaymentFailed"]
    answer = decode("PaymentFailed", world.fence().reply)
    assert isinstance(answer, Refused)
    assert answer.reason == "payment_declined"
    assert world.command("undo") == ["PaymentCompensated"]


def test_line_18_an_undo_before_the_claim_is_a_tombstone_at_once_and_nothing_is_called(
    world: PaymentHarness,
) -> None:
    world.command("do")
    assert world.command("undo") == ["PaymentCompensated"]
    assert world.fence().state is FenceState.TOMBSTONE
    assert world.timers() == []
    assert world.loop.run_once() == 0
    assert world.command("do") == ["PaymentCompensated"], "a late do is refused"


def test_line_18_do_and_undo_in_one_batch_make_no_call(world: PaymentHarness) -> None:
    assert world.command("do", "undo") == ["PaymentCompensated"]
    assert world.timers() == []
    assert world.loop.run_once() == 0


def test_line_18_an_undo_before_the_do_is_a_tombstone(world: PaymentHarness) -> None:
    assert world.command("undo", "do") == ["PaymentCompensated", "PaymentCompensated"]
    assert world.timers() == []
    assert not world.rows("payment")


def test_line_18_a_charge_whose_undo_was_requested_meanwhile_is_refunded_and_then_compensated(
    world: PaymentHarness,
) -> None:
    world.command("do")
    answers: list[str] = []
    world.provider.during = lambda: answers.extend(world.command("undo"))
    assert world.charge(PAID) == []
    assert answers == [], "an unknown charge is not answered as undone"
    assert (world.fence().state, world.payment().charge_id) == (FenceState.UNDOING, "pi_1")
    assert world.command("undo", "do") == []
    assert world.charge(Succeeded("re_1")) == ["PaymentCompensated"]
    assert (world.fence().state, world.payment().refund_id) == (FenceState.UNDONE, "re_1")
    assert asks(world) == [ProviderRequest.CHARGE, ProviderRequest.REFUND]
    assert world.provider.calls[1].payment.charge_id == "pi_1"
    assert world.timers() == []


def test_a_decline_whose_undo_was_requested_meanwhile_answers_failed_and_compensated(
    world: PaymentHarness,
) -> None:
    answers: list[str] = []
    world.command("do")
    world.provider.during = lambda: answers.extend(world.command("undo"))
    assert world.charge(DECLINED) == ["PaymentFailed", "PaymentCompensated"]
    assert answers == []
    assert world.fence().state is FenceState.REFUSED
    assert asks(world) == [ProviderRequest.CHARGE]


def test_an_undo_of_a_done_payment_refunds_it(world: PaymentHarness) -> None:
    world.command("do")
    world.charge(PAID)
    assert world.command("undo") == []
    assert world.fence().state is FenceState.UNDOING
    assert world.charge(Succeeded("re_1")) == ["PaymentCompensated"]
    assert world.command("do", "undo") == ["PaymentCompensated", "PaymentCompensated"]


def test_line_10_a_confirmed_charge_is_closed_to_undoing(world: PaymentHarness) -> None:
    world.command("do")
    world.charge(PAID)
    assert world.command("confirm") == []
    assert world.fence().state is FenceState.CONFIRMED
    world.command("undo")
    assert [parked.reason for parked in world.rows("parked").values()] == ["impossible_command"]
    assert world.timers() == []


def test_line_17_unknown_is_asked_again_with_the_same_key_until_it_is_definitive(
    world: PaymentHarness,
) -> None:
    world.command("do")
    waits = []
    for error in ("timeout", "http_409", "http_429", "connection_ReadError"):
        assert world.charge(Unknown(error)) == []
        assert world.fence().state is FenceState.RUNNING
        assert world.payment().last_error == error
        waits.append(world.advance_to_next_call())
    assert waits == sorted(waits)
    assert world.charge(PAID) == ["PaymentProcessed"]
    assert {call.idempotency_key for call in world.provider.calls} == {f"{SAGA}:payment:do"}
    assert [call.attempt for call in world.provider.calls] == [1, 2, 3, 4, 5]
    assert world.payment().last_error == ""


def test_nothing_is_called_before_its_time(world: PaymentHarness) -> None:
    world.command("do")
    world.charge(Unknown("http_429", retry_after_ms=20_000))
    world.now_ms += 19_999
    assert world.loop.run_once() == 0
    world.now_ms += 1
    assert world.loop.run_once() == 1


@pytest.mark.parametrize(
    ("verb", "same", "look_up"),
    [
        ("do", ProviderRequest.CHARGE, ProviderRequest.FIND_CHARGE),
        ("undo", ProviderRequest.REFUND, ProviderRequest.FIND_REFUND),
    ],
)
def test_line_17_a_stored_server_error_is_looked_up_and_a_definitive_end_adopted(
    world: PaymentHarness, verb: str, same: ProviderRequest, look_up: ProviderRequest
) -> None:
    world.command("do")
    if verb == "undo":
        world.charge(PAID)
        world.command("undo")
        world.provider.calls.clear()
    for _ in range(SAME_ERROR_MAX):
        world.charge(Unknown("http_500"))
        world.advance_to_next_call()
    events = world.charge(Succeeded("found_1"))
    assert asks(world) == [same] * SAME_ERROR_MAX + [look_up]
    assert events == ["PaymentProcessed" if verb == "do" else "PaymentCompensated"]


def test_line_17_a_look_up_that_finds_nothing_stays_unknown_alarms_and_the_call_is_made_again(
    world: PaymentHarness,
) -> None:
    """A provider that was away for a while must not leave its charges to an operator."""
    world.command("do")
    for _ in range(SAME_ERROR_MAX):
        world.charge(Unknown("http_503"))
        world.advance_to_next_call()
    assert world.charge(Unknown("not_found")) == []
    assert world.loop.alarms == {"payment_unknown": 1}
    assert world.fence().state is FenceState.RUNNING
    world.advance_to_next_call()
    assert world.charge(PAID) == ["PaymentProcessed"]
    assert asks(world) == [ProviderRequest.CHARGE] * SAME_ERROR_MAX + [
        ProviderRequest.FIND_CHARGE,
        ProviderRequest.CHARGE,
    ]


def test_line_17_a_key_too_old_is_only_looked_up(world: PaymentHarness) -> None:
    world.command("do")
    world.charge(Unknown("timeout"))
    world.now_ms += KEY_LIFETIME_MS
    for _ in range(3):
        world.charge(Unknown("not_found"))
        world.advance_to_next_call()
    assert asks(world) == [ProviderRequest.CHARGE, *[ProviderRequest.FIND_CHARGE] * 3]
    assert world.charge(DECLINED) == ["PaymentFailed"]


def test_line_17_a_key_that_was_never_sent_has_no_age(world: PaymentHarness) -> None:
    world.command("do")
    world.now_ms += 2 * KEY_LIFETIME_MS
    world.charge(Unknown("timeout"))
    world.now_ms += KEY_LIFETIME_MS - 1
    assert world.charge(PAID) == ["PaymentProcessed"]
    assert asks(world) == [ProviderRequest.CHARGE, ProviderRequest.CHARGE]


def test_line_18_a_refused_refund_stays_undoing_alarmed_and_tried_again(world: PaymentHarness) -> None:
    world.command("do")
    world.charge(PAID)
    world.command("undo")
    assert world.charge(Declined("charge_disputed", "no")) == []
    assert world.fence().state is FenceState.UNDOING
    assert world.loop.alarms == {"refund_refused": 1}
    assert world.advance_to_next_call() == REFUSED_REFUND_WAIT_MS
    assert world.charge(Succeeded("re_1")) == ["PaymentCompensated"]


# -- crashes and other instances


def test_a_claim_that_died_is_taken_over_when_its_lease_is_over_under_the_same_key(
    world: PaymentHarness,
) -> None:
    world.command("do")
    [died] = world.loop.claim()
    assert world.loop.run_once() == 0
    world.now_ms += LEASE_MS
    assert world.charge(PAID) == ["PaymentProcessed"]
    assert world.provider.calls[0].idempotency_key == died.idempotency_key


@pytest.mark.parametrize("late", [PAID, DECLINED, Unknown("timeout")], ids=["paid", "declined", "unknown"])
@pytest.mark.parametrize("then", ["done", "confirmed", "undone"])
def test_an_answer_that_comes_after_another_instance_resolved_it_changes_nothing(
    world: PaymentHarness, late: Succeeded | Declined | Unknown, then: str
) -> None:
    world.command("do")
    [slow] = world.loop.claim()
    world.now_ms += LEASE_MS
    world.charge(PAID)
    if then == "confirmed":
        world.command("confirm")
    elif then == "undone":
        world.command("undo")
        world.charge(Succeeded("re_1"))
    before = (world.fence(), world.payment(), world.timers(), dict(world.rows("outbox")))
    world.loop.record([(slow, late)])
    assert (world.fence(), world.payment(), world.timers(), dict(world.rows("outbox"))) == before


def test_a_late_unknown_about_the_charge_does_not_disturb_its_refund(world: PaymentHarness) -> None:
    world.command("do")
    [slow] = world.loop.claim()
    world.now_ms += LEASE_MS
    world.charge(PAID)
    world.command("undo")
    world.loop.record([(slow, Unknown("timeout"))])
    assert world.payment().charge_id == "pi_1"
    assert [row.key.verb for row in world.timers()] == ["undo"]
    assert world.charge(Succeeded("re_1")) == ["PaymentCompensated"]


def test_two_unknown_answers_to_one_charge_count_the_same_error_twice(world: PaymentHarness) -> None:
    world.command("do")
    [slow] = world.loop.claim()
    world.now_ms += LEASE_MS
    world.charge(Unknown("http_500"))
    world.loop.record([(slow, Unknown("http_500"))])
    assert world.payment().same_error == 2


def test_a_timer_that_nobody_awaits_is_removed_without_a_call(world: PaymentHarness) -> None:
    world.command("do")
    timer = world.timers()[0]
    world.charge(PAID)
    with world.store.transaction() as tx:
        tx.set_timers([timer, timer._replace(key=timer.key._replace(saga_id=saga_id(9)))])
    assert world.loop.run_once() == 0
    assert world.timers() == []
    assert len(world.provider.calls) == 1


def test_line_15_a_timer_due_beyond_every_wait_is_due(world: PaymentHarness) -> None:
    world.command("do")
    timer = world.timers()[0]
    with world.store.transaction() as tx:
        tx.set_timers([timer._replace(due_ms=world.now_ms + HORIZON_MS)])
    assert world.loop.run_once() == 0
    with world.store.transaction() as tx:
        tx.set_timers([timer._replace(due_ms=world.now_ms + HORIZON_MS + 1)])
    assert world.charge(PAID) == ["PaymentProcessed"]


def test_many_are_called_side_by_side_and_recorded_in_one_transaction(world: PaymentHarness) -> None:
    for n in range(CALLS_MAX + 3):
        world.command("do", saga=saga_id(n))
    answers: list[ProviderResult] = [PAID, DECLINED]
    events = world.charge(*answers * (CALLS_MAX // 2))
    assert events == ["PaymentProcessed", "PaymentFailed"] * (CALLS_MAX // 2)
    assert len(world.rows("outbox")) == 1
    assert world.loop.run_once() == 3
