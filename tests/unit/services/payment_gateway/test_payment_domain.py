"""What each answer does to a payment (protocol, lines 16 to 18): the whole table of `resolve`."""

import pytest
from tests.samples import SAGA

from holdfast.messaging.fence import Fence, FenceState
from holdfast.services.payment_gateway.domain import (
    REFUND_FAILED,
    REFUSED_REFUND_WAIT_MS,
    RESOLVE_BASE_MS,
    RESOLVE_CAP_MS,
    RETRY_AFTER_MAX_MS,
    SAME_ERROR_MAX,
    Declined,
    NotSent,
    Payment,
    ProviderCall,
    ProviderRequest,
    ProviderResult,
    Resolution,
    Succeeded,
    Unknown,
    awaits,
    next_ask,
    resolve,
)

PAYMENT = Payment(SAGA, "ada", "pm_card_visa", 300, "GBP")
CHARGED = PAYMENT._replace(charge_id="pi_1")
RUNNING = Fence(SAGA, FenceState.RUNNING, submitted=True)
UNDO_WANTED = RUNNING._replace(undo_requested=True)
UNDOING = Fence(SAGA, FenceState.UNDOING, submitted=True)
HELD = NotSent(4_000)
PAID, REFUSED, AWAY = Succeeded("pi_1"), Declined("insufficient_funds", "no"), Unknown("timeout")

CHARGES = [ProviderRequest.CHARGE, ProviderRequest.FIND_CHARGE]
REFUNDS = [ProviderRequest.REFUND, ProviderRequest.FIND_REFUND]


def call(ask: ProviderRequest, payment: Payment = PAYMENT, attempt: int = 1) -> ProviderCall:
    return ProviderCall(ask, payment, attempt)


@pytest.mark.parametrize("ask", CHARGES)
def test_a_charge_that_succeeded_is_done_and_processed(ask: ProviderRequest) -> None:
    resolution = resolve(RUNNING, call(ask), PAID)
    assert resolution is not None
    assert resolution.fence.state is FenceState.DONE
    assert resolution.payment == PAYMENT._replace(charge_id="pi_1")
    assert (resolution.processed, resolution.failed, resolution.compensated) == (True, False, False)
    assert (resolution.wait_ms, resolution.refund_now, resolution.alarm) == (None, False, "")


@pytest.mark.parametrize("ask", CHARGES)
def test_line_18_a_charge_whose_undo_was_requested_is_refunded_first_and_silently(
    ask: ProviderRequest,
) -> None:
    resolution = resolve(UNDO_WANTED, call(ask), PAID)
    assert resolution is not None
    assert resolution.fence.state is FenceState.UNDOING
    assert resolution.payment.charge_id == "pi_1"
    assert (resolution.processed, resolution.failed, resolution.compensated) == (False, False, False)
    assert (resolution.wait_ms, resolution.refund_now) == (None, True)


@pytest.mark.parametrize("ask", CHARGES)
@pytest.mark.parametrize("undo_requested", [False, True])
def test_a_decline_answers_failed_and_compensated_where_an_undo_was_requested(
    ask: ProviderRequest, undo_requested: bool
) -> None:
    resolution = resolve(RUNNING._replace(undo_requested=undo_requested), call(ask), REFUSED)
    assert resolution is not None
    assert resolution.fence.state is FenceState.REFUSED
    assert resolution.payment.decline_code == "insufficient_funds"
    assert (resolution.processed, resolution.failed) == (False, True)
    assert resolution.compensated is undo_requested
    assert (resolution.wait_ms, resolution.refund_now) == (None, False)


@pytest.mark.parametrize("ask", REFUNDS)
def test_a_refund_that_succeeded_is_undone_and_compensated(ask: ProviderRequest) -> None:
    resolution = resolve(UNDOING, call(ask, CHARGED), Succeeded("re_1"))
    assert resolution is not None
    assert resolution.fence.state is FenceState.UNDONE
    assert resolution.payment == CHARGED._replace(refund_id="re_1")
    assert (resolution.processed, resolution.failed, resolution.compensated) == (False, False, True)
    assert resolution.wait_ms is None


@pytest.mark.parametrize("ask", REFUNDS)
def test_line_18_a_refund_refused_for_good_stays_undoing_alarms_and_is_tried_again(
    ask: ProviderRequest,
) -> None:
    resolution = resolve(UNDOING, call(ask, CHARGED), Declined("charge_disputed", "no"))
    assert resolution is not None
    assert resolution.fence == UNDOING
    assert (resolution.wait_ms, resolution.alarm) == (REFUSED_REFUND_WAIT_MS, "refund_refused")
    assert (resolution.processed, resolution.failed, resolution.compensated) == (False, False, False)
    assert resolution.payment.last_error == "refund refused: charge_disputed"


@pytest.mark.parametrize(
    ("fence", "asks"), [(RUNNING, CHARGES), (UNDO_WANTED, CHARGES), (UNDOING, REFUNDS)], ids=str
)
def test_line_17_an_unknown_answer_changes_nothing_but_the_next_time(
    fence: Fence, asks: list[ProviderRequest]
) -> None:
    for ask in asks:
        resolution = resolve(fence, call(ask, CHARGED), AWAY)
        assert resolution is not None
        assert resolution.fence == fence
        assert resolution.payment == CHARGED._replace(last_error="timeout")
        assert (resolution.processed, resolution.failed, resolution.compensated) == (False, False, False)
        assert not resolution.refund_now
        assert resolution.wait_ms is not None
        assert RESOLVE_BASE_MS / 2 <= resolution.wait_ms <= RESOLVE_BASE_MS
        assert resolution.alarm == (
            "payment_unknown" if ask in (ProviderRequest.FIND_CHARGE, ProviderRequest.FIND_REFUND) else ""
        )


CLOSED = (FenceState.REFUSED, FenceState.TOMBSTONE)


@pytest.mark.parametrize("answer", [PAID, REFUSED, AWAY, HELD], ids=str)
@pytest.mark.parametrize("state", [s for s in FenceState if s is not FenceState.RUNNING])
def test_an_answer_to_a_charge_that_comes_after_its_end_changes_nothing(
    state: FenceState, answer: ProviderResult
) -> None:
    for ask in CHARGES:
        assert resolve(Fence(SAGA, state), call(ask, CHARGED), answer) is None
        if state not in CLOSED or answer is not PAID:
            assert resolve(Fence(SAGA, state), call(ask), answer) is None


@pytest.mark.parametrize("state", CLOSED)
def test_line_17_a_charge_that_appears_under_a_closed_row_is_refunded_silently_and_alarmed(
    state: FenceState,
) -> None:
    closed = Fence(SAGA, state, submitted=True)
    found = resolve(closed, call(ProviderRequest.CHARGE), PAID)
    assert found is not None
    assert (found.fence, found.payment) == (closed, CHARGED)
    assert (found.refund_now, found.wait_ms, found.alarm) == (True, None, "stray_charge")
    assert (found.processed, found.failed, found.compensated) == (False, False, False)
    assert awaits(closed, found.payment, "undo")
    refunded = resolve(closed, call(ProviderRequest.REFUND, CHARGED), Succeeded("re_1"))
    assert refunded is not None
    assert (refunded.fence, refunded.payment.refund_id, refunded.compensated) == (closed, "re_1", False)
    assert not awaits(closed, refunded.payment, "undo")


def test_a_refund_that_failed_later_is_looked_up_until_money_has_moved() -> None:
    undone = Fence(SAGA, FenceState.UNDONE)
    owed = CHARGED._replace(refund_id="re_1", last_error=REFUND_FAILED)
    assert awaits(undone, owed, "undo")
    assert not awaits(undone, owed._replace(last_error=""), "undo")
    for answer in (Unknown("not_found"), Declined("refund_failed", "")):
        assert next_ask(owed, "undo", 0, 1) is ProviderRequest.FIND_REFUND, (
            "the key would repeat the old success"
        )
        still = resolve(undone, call(ProviderRequest.FIND_REFUND, owed), answer)
        assert still is not None
        assert still.alarm
        assert (still.payment.last_error, still.wait_ms) == (REFUND_FAILED, REFUSED_REFUND_WAIT_MS)
        owed = still.payment
    paid = resolve(undone, call(ProviderRequest.FIND_REFUND, owed), Succeeded("re_2"))
    assert paid is not None
    assert (paid.payment.refund_id, paid.payment.last_error, paid.compensated) == ("re_2", "", False)


def test_a_refused_refund_is_looked_up_and_tried_in_turns_and_its_refusal_stays_visible() -> None:
    payment, asked = CHARGED, []
    for answer in (Declined("charge_disputed", ""), Unknown("not_found")) * 2:
        asked.append(next_ask(payment, "undo", 0, 1))
        resolution = resolve(UNDOING, call(asked[-1], payment), answer)
        assert resolution is not None
        assert resolution.wait_ms == REFUSED_REFUND_WAIT_MS
        payment = resolution.payment
        assert payment.last_error == "refund refused: charge_disputed"
    assert asked == [ProviderRequest.REFUND, ProviderRequest.FIND_REFUND] * 2


@pytest.mark.parametrize(("fence", "asks"), [(RUNNING, CHARGES), (UNDOING, REFUNDS)], ids=str)
def test_a_call_that_the_breaker_held_back_changes_nothing_but_its_time(
    fence: Fence, asks: list[ProviderRequest]
) -> None:
    for ask in asks:
        payment = CHARGED._replace(last_error="http_503", same_error=2)
        assert resolve(fence, call(ask, payment), HELD) == Resolution(fence, payment, wait_ms=4_000)


@pytest.mark.parametrize("answer", [PAID, REFUSED, AWAY], ids=str)
@pytest.mark.parametrize("state", [s for s in FenceState if s is not FenceState.UNDOING])
def test_an_answer_to_a_refund_that_comes_after_its_end_changes_nothing(
    state: FenceState, answer: ProviderResult
) -> None:
    for ask in REFUNDS:
        ended = CHARGED if state not in CLOSED else PAYMENT
        assert resolve(Fence(SAGA, state), call(ask, ended), answer) is None


def test_waits_grow_to_their_cap_and_a_retry_after_is_heeded_within_reason() -> None:
    def wait(attempt: int, retry_after_ms: int = 0) -> int:
        resolution = resolve(
            RUNNING, call(ProviderRequest.CHARGE, attempt=attempt), Unknown("http_429", retry_after_ms)
        )
        assert resolution is not None
        assert resolution.wait_ms is not None
        return resolution.wait_ms

    assert wait(1) < wait(4) < wait(6)
    assert RESOLVE_CAP_MS / 2 <= wait(50) <= RESOLVE_CAP_MS
    assert wait(1, 45_000) == 45_000
    assert wait(1, 10**9) == RETRY_AFTER_MAX_MS
    assert wait(50, 1) >= RESOLVE_CAP_MS / 2


def _after(payment: Payment, ask: ProviderRequest, error: str) -> Payment:
    resolution = resolve(RUNNING, call(ask, payment), Unknown(error))
    assert resolution is not None
    return resolution.payment


def test_line_17_unknown_is_resolved_by_the_same_call_again() -> None:
    payment = PAYMENT
    for error in ("timeout", "http_500", "http_503", "http_500", "http_409", "http_500", "timeout"):
        assert next_ask(payment, "do", 0, 1) is ProviderRequest.CHARGE
        payment = _after(payment, ProviderRequest.CHARGE, error)


def test_line_17_a_server_error_that_the_key_may_repeat_for_ever_is_looked_up() -> None:
    payment = PAYMENT
    for _ in range(SAME_ERROR_MAX):
        assert next_ask(payment, "do", 0, 1) is ProviderRequest.CHARGE
        payment = _after(payment, ProviderRequest.CHARGE, "http_500")
    assert next_ask(payment, "do", 0, 1) is ProviderRequest.FIND_CHARGE


@pytest.mark.parametrize("error", ["stored_http_500", "status_processing"])
def test_line_17_what_the_key_surely_repeats_is_looked_up_at_once(error: str) -> None:
    payment = _after(PAYMENT, ProviderRequest.CHARGE, error)
    assert next_ask(payment, "do", 0, 1) is ProviderRequest.FIND_CHARGE
    assert (
        next_ask(_after(payment, ProviderRequest.FIND_CHARGE, error), "do", 0, 1)
        is ProviderRequest.FIND_CHARGE
    )


def test_a_stored_failure_stays_visible_and_a_call_under_its_key_is_not_made_again() -> None:
    payment = _after(
        _after(PAYMENT, ProviderRequest.CHARGE, "stored_http_500"), ProviderRequest.FIND_CHARGE, "not_found"
    )
    assert payment.last_error == "stored_http_500"
    assert next_ask(payment, "do", 0, 1) is ProviderRequest.FIND_CHARGE


def test_a_charge_at_work_that_a_look_up_does_not_see_is_called_again() -> None:
    payment = _after(
        _after(PAYMENT, ProviderRequest.CHARGE, "status_processing"), ProviderRequest.FIND_CHARGE, "not_found"
    )
    assert next_ask(payment, "do", 0, 1) is ProviderRequest.CHARGE


def test_a_look_up_that_found_nothing_proves_nothing_and_the_same_call_is_next() -> None:
    payment = PAYMENT._replace(same_error=SAME_ERROR_MAX, last_error="http_500")
    for error in ("not_found", "http_500", "timeout"):
        assert (
            next_ask(_after(payment, ProviderRequest.FIND_CHARGE, error), "do", 0, 1)
            is ProviderRequest.CHARGE
        )


@pytest.mark.parametrize(
    ("verb", "same", "look_up"),
    [
        ("do", ProviderRequest.CHARGE, ProviderRequest.FIND_CHARGE),
        ("undo", ProviderRequest.REFUND, ProviderRequest.FIND_REFUND),
    ],
)
def test_line_17_a_key_too_old_is_never_sent_again(
    verb: str, same: ProviderRequest, look_up: ProviderRequest
) -> None:
    assert next_ask(PAYMENT, verb, 99, 100) is same
    assert next_ask(PAYMENT, verb, 100, 100) is look_up
    assert next_ask(PAYMENT, verb, -5, 100) is same, "a clock that jumped back makes no key old"


def test_line_16_keys_are_made_of_the_saga_alone() -> None:
    keys = {
        ask: call(ask, attempt=9).idempotency_key for ask in (ProviderRequest.CHARGE, ProviderRequest.REFUND)
    }
    assert keys == {
        ProviderRequest.CHARGE: f"{SAGA}:payment:do",
        ProviderRequest.REFUND: f"{SAGA}:payment:undo",
    }
