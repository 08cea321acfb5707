"""Chooses the faults of each request: by the admin endpoint's rules, and by scripts in the payment itself.

A payment's script stands after `__` in its payment method (`pm_card_visa__late_500ms__refund_latency_90ms`),
or in its metadata as `behaviour`, separated by spaces. Its words are `[operation_]fault[_<n>ms][_x<n>]`; each
hits an idempotency key once, or as often as `_x` says. Counts are lost when the process ends.
"""

import re
import time
from collections.abc import Callable, Sequence

from pydantic import TypeAdapter, ValidationError

from holdfast.payment_provider.cards import split_token
from holdfast.payment_provider.faults import (
    NO_FAULTS,
    Fault,
    FaultPlan,
    Operation,
    RequestRule,
    WebhookFault,
)
from holdfast.payment_provider.objects import Json

KEYS_REMEMBERED_MAX = 100_000
SCRIPTS_REMEMBERED_MAX = 10_000

_FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)
_WORD = re.compile(r"(?:(charge|refund|cancel|lookup|webhook)_)?([a-z_]+?)(?:_(\d{1,8})ms)?(?:_x(\d{1,4}))?")


class ScriptError(ValueError):
    """A payment carries a script that is not valid."""


def parse_script(script: str) -> tuple[Fault, ...]:
    """Return the rules that a payment carries; a rule that names no operation is for the charge."""
    return tuple(_parse_word(word) for word in script.split())


def _parse_word(word: str) -> Fault:
    found = _WORD.fullmatch(word)
    if found is None:
        raise ScriptError(f"not a behaviour: {word}")
    operation, do, ms, times = found.groups()
    rule: Json = {"operation": operation or "charge", "do": do, "per_key": int(times or 1)}
    if ms is not None:
        rule["ms"] = int(ms)
    try:
        return _FAULT.validate_python(rule)
    except ValidationError as error:
        raise ScriptError(f"not a behaviour: {word} ({error.errors()[0]['msg']})") from error


class _CountedRule:
    """A rule and how often it was applied."""

    def __init__(self, rule: Fault, now: float) -> None:
        self.rule = rule
        self.times = 0
        self._until = None if rule.for_ms is None else now + rule.for_ms / 1000
        self._per_key: dict[str, int] = {}

    def applies(self, operation: Operation, subject: str, payment_method: str, now: float) -> bool:
        """Tell whether the rule is applied now; if so, count it."""
        rule = self.rule
        if (
            rule.operation != operation
            or (rule.payment_method not in (None, payment_method, split_token(payment_method)[0]))
            or (rule.times is not None and self.times >= rule.times)
            or (self._until is not None and now >= self._until)
            or rule.draw(subject) >= rule.share
            or (rule.per_key is not None and self._per_key.get(subject, 0) >= rule.per_key)
        ):
            return False
        self.times += 1
        if rule.per_key is not None:
            self._per_key[subject] = self._per_key.get(subject, 0) + 1
            if len(self._per_key) > KEYS_REMEMBERED_MAX:
                del self._per_key[next(iter(self._per_key))]
        return True


class FaultRules:
    """The rules in force: those of the admin endpoint, and those of the payments' scripts."""

    def __init__(
        self,
        *,
        on_applied: Callable[[Fault], None] = lambda rule: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_applied = on_applied
        self._clock = clock
        self._rules: list[_CountedRule] = []
        self._scripts: dict[str, list[_CountedRule]] = {}

    def replace(self, rules: Sequence[Fault]) -> None:
        """Replace all rules by these, and reset all counts, those of payments' scripts too."""
        now = self._clock()
        self._rules = [_CountedRule(rule, now) for rule in rules]
        self._scripts = {}

    def report(self) -> list[Json]:
        """Return each rule, and how often it was applied."""
        return [{**counted.rule.model_dump(mode="json"), "played": counted.times} for counted in self._rules]

    def for_request(self, operation: Operation, subject: str, payment_method: str, script: str) -> FaultPlan:
        """Return the plan of faults for this request."""
        rule = self._applied_rule(operation, subject, payment_method, script)
        return rule.plan(subject) if isinstance(rule, RequestRule) else NO_FAULTS

    def for_webhook(self, subject: str, payment_method: str, script: str) -> WebhookFault | None:
        """Return the fault of this event, or None."""
        rule = self._applied_rule("webhook", subject, payment_method, script)
        return None if isinstance(rule, RequestRule) else rule

    def _applied_rule(
        self, operation: Operation, subject: str, payment_method: str, script: str
    ) -> Fault | None:
        now = self._clock()
        for counted in (*self._rules_of_script(f"{split_token(payment_method)[1]} {script}"), *self._rules):
            if counted.applies(operation, subject, payment_method, now):
                self._on_applied(counted.rule)
                return counted.rule
        return None

    def _rules_of_script(self, script: str) -> Sequence[_CountedRule]:
        if script.isspace():
            return ()
        if script not in self._scripts:
            if len(self._scripts) >= SCRIPTS_REMEMBERED_MAX:
                del self._scripts[next(iter(self._scripts))]
            self._scripts[script] = [_CountedRule(rule, self._clock()) for rule in parse_script(script)]
        return self._scripts[script]
