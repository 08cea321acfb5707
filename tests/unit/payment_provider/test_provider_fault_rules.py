"""Which request suffers what: matching, shares, counts, lifetimes, and the scripts that a payment carries."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from holdfast.payment_provider.fault_rules import FaultRules, ScriptError, parse_script
from holdfast.payment_provider.faults import (
    NO_FAULTS,
    Contradict,
    Duplicate,
    Fault,
    FaultPlan,
    Hold,
    Operation,
)

FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)


def rule(do: str = "timeout_before", operation: str = "charge", **fields: Any) -> Fault:
    return FAULT.validate_python({"do": do, "operation": operation, **fields})


class Scene:
    """Behaviour with a clock of its own."""

    def __init__(self, *rules: Fault) -> None:
        self.now = 0.0
        self.fault_rules = FaultRules(clock=lambda: self.now)
        self.fault_rules.replace(rules)

    def script(
        self,
        subject: str = "k",
        payment_method: str = "pm_card_visa",
        *,
        operation: Operation = "charge",
        script: str = "",
    ) -> FaultPlan:
        return self.fault_rules.for_request(operation, subject, payment_method, script)

    def applies(self, subject: str = "k", payment_method: str = "pm_card_visa", **where: Any) -> bool:
        return self.script(subject, payment_method, **where) != NO_FAULTS

    @property
    def counted(self) -> list[int]:
        return [line["played"] for line in self.fault_rules.report()]


def test_without_rules_every_day_is_good() -> None:
    assert Scene().script() == NO_FAULTS


def test_a_rule_strikes_its_operation_only() -> None:
    scene = Scene(rule(operation="refund"))
    assert not scene.applies()
    assert scene.applies(operation="refund")


def test_a_rule_can_name_a_payment_method_with_or_without_its_script() -> None:
    scene = Scene(rule(payment_method="pm_card_visa"))
    assert scene.applies(payment_method="pm_card_visa")
    assert scene.applies(payment_method="pm_card_visa__webhook_hold")
    assert not scene.applies(payment_method="pm_card_mastercard")


def test_the_first_rule_that_fits_is_played_alone() -> None:
    scene = Scene(rule(times=1), rule("latency", ms=5))
    assert scene.script().executes is False
    assert scene.script().pause_ms == 5
    assert scene.counted == [1, 1]


def test_a_rule_is_played_so_many_times_in_all() -> None:
    scene = Scene(rule(times=2))
    assert [scene.applies(f"k{n}") for n in range(4)] == [True, True, False, False]


def test_a_rule_is_played_so_many_times_for_each_key() -> None:
    scene = Scene(rule(per_key=2))
    assert [scene.applies("a") for _ in range(3)] == [True, True, False]
    assert scene.applies("b")


def test_a_rule_lives_so_long() -> None:
    scene = Scene(rule(for_ms=2000))
    scene.now = 1.999
    assert scene.applies()
    scene.now = 2.0
    assert not scene.applies()


def test_a_share_strikes_the_same_keys_in_every_run() -> None:
    keys = [f"key-{n}" for n in range(2000)]
    first, second, other = (Scene(rule(share=0.1, seed=seed)) for seed in (7, 7, 8))
    hit = [key for key in keys if first.applies(key)]
    assert hit == [key for key in keys if second.applies(key)]
    assert hit != [key for key in keys if other.applies(key)]
    assert 150 < len(hit) < 250
    assert not any(Scene(rule(share=0)).applies(key) for key in keys)


def test_jitter_is_the_same_in_every_run_and_stays_in_its_bounds() -> None:
    pauses = [
        Scene(rule("latency", ms=100, jitter_ms=50, seed=3)).script(f"k{n}").pause_ms for n in range(100)
    ]
    assert pauses == [
        Scene(rule("latency", ms=100, jitter_ms=50, seed=3)).script(f"k{n}").pause_ms for n in range(100)
    ]
    assert 100 <= min(pauses) < 110 < 140 < max(pauses) <= 150


def test_new_rules_come_with_fresh_counts() -> None:
    scene = Scene(rule(times=1))
    assert scene.applies()
    scene.fault_rules.replace([rule(times=1)])
    assert scene.counted == [0]
    assert scene.applies()


@pytest.mark.parametrize(
    ("do", "operation", "fields", "expected"),
    [
        ("latency", "lookup", {"ms": 7}, FaultPlan(pause_ms=7)),
        ("timeout_before", "lookup", {"ms": 7}, FaultPlan(executes=False, silent_ms=7)),
        ("timeout_after", "charge", {"ms": 7}, FaultPlan(silent_ms=7)),
        ("late", "charge", {"ms": 7, "hold_ms": 1}, FaultPlan(arrives_ms=7, silent_ms=1)),
        ("blind", "lookup", {}, FaultPlan(blind=True)),
    ],
)
def test_what_a_rule_makes_of_a_request(
    do: str, operation: Operation, fields: dict[str, Any], expected: FaultPlan
) -> None:
    assert Scene(rule(do, operation, **fields)).script(operation=operation) == expected


@pytest.mark.parametrize(
    ("do", "fields", "status", "retry_after"),
    [
        ("error_heals", {"status": 502}, 502, None),
        ("in_flight", {}, 409, None),
        ("lock_timeout", {}, 429, None),
        ("rate_limit", {"retry_after_s": 3}, 429, "3"),
        ("unavailable", {"retry_after_s": 9}, 503, "9"),
    ],
)
def test_each_refusing_fault_has_its_status_and_headers(
    do: str, fields: dict[str, Any], status: int, retry_after: str | None
) -> None:
    refusal = Scene(rule(do, **fields)).script().refuses
    assert refusal is not None
    assert refusal.status == status
    assert (refusal.headers or {}).get("Retry-After") == retry_after
    assert (refusal.headers or {})["Stripe-Should-Retry"] == "true"


@pytest.mark.parametrize(
    ("do", "operation"),
    [
        ("blind", "charge"),
        ("late", "lookup"),
        ("refuse", "charge"),
        ("succeed_later", "cancel"),
        ("hold", "charge"),
        ("timeout_after", "webhook"),
        ("error_stored", "lookup"),
    ],
)
def test_a_fault_that_does_not_fit_the_operation_is_refused(do: str, operation: str) -> None:
    needs: dict[str, dict[str, Any]] = {"late": {"ms": 1}, "hold": {"ms": 1}}
    with pytest.raises(ValidationError, match="does not happen to"):
        rule(do, operation, **needs.get(do, {}))


@pytest.mark.parametrize(
    "fields", [{"share": 1.1}, {"times": 0}, {"ms": -1}, {"sahre": 0.5}, {"operation": "tip"}]
)
def test_a_rule_with_a_slip_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FAULT.validate_python({"do": "latency", "operation": "charge", "ms": 1, **fields})


def test_a_payment_carries_its_script_in_its_method() -> None:
    scene = Scene()
    method = "pm_card_visa__timeout_after_20ms__refund_late_500ms_x2__lookup_blind"
    assert scene.script("do", method) == FaultPlan(silent_ms=20)
    assert scene.script("do", method) == NO_FAULTS
    assert scene.script("another key", method) == FaultPlan(silent_ms=20)
    late = FaultPlan(arrives_ms=500, silent_ms=0)
    assert [scene.script("undo", method, operation="refund") for _ in range(3)] == [late, late, NO_FAULTS]
    assert scene.script("pi_1", method, operation="lookup").blind


def test_new_rules_let_scripts_strike_again() -> None:
    scene = Scene()
    assert scene.applies(payment_method="pm_card_visa__in_flight")
    assert not scene.applies(payment_method="pm_card_visa__in_flight")
    scene.fault_rules.replace([])
    assert scene.applies(payment_method="pm_card_visa__in_flight")


def test_a_payment_carries_its_script_in_its_metadata() -> None:
    scene = Scene()
    assert scene.applies(script="error_heals_x2 refund_refuse")
    assert scene.applies(script="error_heals_x2 refund_refuse")
    assert not scene.applies(script="error_heals_x2 refund_refuse")


def test_a_payments_own_script_comes_before_the_rules() -> None:
    scene = Scene(rule("latency", ms=1))
    assert scene.script(payment_method="pm_card_visa__timeout_before").executes is False
    assert scene.counted == [0]


@pytest.mark.parametrize(
    "script", ["nonsense", "refund_blind", "timeout_after_x0", "late", "Timeout", "tip_latency_1ms"]
)
def test_a_script_that_nobody_understands_is_an_error(script: str) -> None:
    with pytest.raises(ScriptError, match="not a behaviour"):
        parse_script(script)


def test_webhooks_have_faults_of_their_own() -> None:
    scene = Scene(rule("duplicate", "webhook", copies=5, times=1), rule("hold", "webhook", ms=9, times=1))
    faults = [scene.fault_rules.for_webhook("k", "pm_card_visa", "") for _ in range(3)]
    assert [type(fault) for fault in faults] == [Duplicate, Hold, type(None)]
    contradicted = scene.fault_rules.for_webhook("k", "pm_card_visa__webhook_contradict", "")
    assert isinstance(contradicted, Contradict)


def test_each_applied_fault_is_reported() -> None:
    applied: list[str] = []
    fault_rules = FaultRules(on_applied=lambda fault: applied.append(fault.do))
    fault_rules.for_request("charge", "k", "pm_card_visa__in_flight", "")
    fault_rules.for_request("charge", "k", "pm_card_visa__in_flight", "")
    assert applied == ["in_flight"]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.payment_provider.fault_rules.KEYS_REMEMBERED_MAX", 2)
    monkeypatch.setattr("holdfast.payment_provider.fault_rules.SCRIPTS_REMEMBERED_MAX", 2)
    scene = Scene(rule(per_key=1))
    assert all(scene.applies(key) for key in "abc")
    assert not scene.applies("c")
    assert scene.applies("a"), "the oldest key was forgotten"
    for ms in (1, 2, 3):
        assert scene.script("z", f"pm_card_visa__latency_{ms}ms").pause_ms == ms
    assert len(scene.fault_rules._scripts) == 2
