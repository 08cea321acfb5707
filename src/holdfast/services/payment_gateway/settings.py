"""payment-gateway's settings."""

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from holdfast.messaging.outcome_poller import ASK_EVERY_MS
from holdfast.runtime.settings import PREFIX, URL_PATTERN, ServiceSettings, check_secret_file
from holdfast.services.payment_gateway.charging import LEASE_MS


class PaymentSettings(ServiceSettings):
    """The provider's address and secrets, the time limit of one call, and the intervals of the loops.

    A claim must last longer than its call; otherwise two instances could make the same call at the same time.
    """

    provider_url: str = Field(pattern=URL_PATTERN)
    provider_key_file: Path
    provider_timeout_s: float = Field(default=10.0, gt=0, le=50)
    claim_lease_ms: int = Field(default=LEASE_MS, ge=1, validate_default=True)
    provider_webhook_secret_file: Path | None = None
    settle_every_ms: int = Field(default=600_000, ge=100)
    ask_every_ms: int = Field(default=ASK_EVERY_MS, ge=100)

    @field_validator("provider_key_file", "provider_webhook_secret_file")
    @classmethod
    def _holds_a_secret(cls, path: Path | None) -> Path | None:
        return check_secret_file(path)

    @field_validator("claim_lease_ms")
    @classmethod
    def _claims_outlive_calls(cls, claim_lease_ms: int, info: ValidationInfo) -> int:
        timeout_ms = info.data.get("provider_timeout_s", 0) * 1000
        if claim_lease_ms <= timeout_ms:
            raise ValueError(
                f"{claim_lease_ms} is not above {PREFIX}PROVIDER_TIMEOUT_S = {timeout_ms:.0f} ms"
            )
        return claim_lease_ms
