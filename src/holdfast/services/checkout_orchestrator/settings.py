"""checkout-orchestrator's own settings: when it sends a command again, and when it believes a silence."""

from typing import Any

from pydantic import Field, ValidationInfo, create_model, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from holdfast.contracts.steps import PATIENCE_OF_STEP_MS
from holdfast.messaging.timers import LATE_AFTER_MS_MIN, TimerSettings
from holdfast.runtime.settings import PREFIX

_OF_STEPS = {f"{step}_patience_ms": patience_ms for step, patience_ms in PATIENCE_OF_STEP_MS.items()}


class _DeadlineSettings(BaseSettings):
    """All in milliseconds; a step with a patience of its own has its own setting, `{step}_patience_ms`."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}DEADLINE_", extra="ignore")

    resend_after_ms: int = Field(default=TimerSettings.resend_after_ms, ge=10)
    backoff_cap_ms: int = Field(default=TimerSettings.backoff_cap_ms, ge=10)
    patience_ms: int = Field(default=TimerSettings.patience_ms, ge=10, validate_default=True)
    horizon_ms: int = Field(default=TimerSettings.horizon_ms, ge=20, validate_default=True)
    late_after_ms: int = Field(default=TimerSettings.late_after_ms, ge=LATE_AFTER_MS_MIN)

    @field_validator("patience_ms", *_OF_STEPS, check_fields=False)
    @classmethod
    def _patience_outlasts_a_firing(cls, patience_ms: int, info: ValidationInfo) -> int:
        if patience_ms < info.data.get("resend_after_ms", 0):
            raise ValueError(f"it is below {PREFIX}DEADLINE_RESEND_AFTER_MS = {info.data['resend_after_ms']}")
        return patience_ms

    @field_validator("horizon_ms")
    @classmethod
    def _horizon_is_above_every_wait(cls, horizon_ms: int, info: ValidationInfo) -> int:
        for name in ("resend_after_ms", "backoff_cap_ms"):
            if horizon_ms <= info.data.get(name, 0):
                raise ValueError(f"it is not above {PREFIX}DEADLINE_{name.upper()} = {info.data[name]}")
        return horizon_ms

    def timers(self) -> TimerSettings:
        """Return these numbers in the kernel's type."""
        numbers = self.model_dump()
        of_steps = {step: numbers.pop(f"{step}_patience_ms") for step in PATIENCE_OF_STEP_MS}
        return TimerSettings(patience_of_step_ms=of_steps, **numbers)


_FIELDS: dict[str, Any] = {
    name: (int, Field(default=patience_ms, ge=10, validate_default=True))
    for name, patience_ms in _OF_STEPS.items()
}
DeadlineSettings = create_model("DeadlineSettings", __base__=_DeadlineSettings, **_FIELDS)
