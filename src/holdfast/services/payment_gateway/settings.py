"""payment-gateway's settings."""

from pathlib import Path

from pydantic import Field

from holdfast.messaging.asking import ASK_EVERY_MS
from holdfast.runtime.settings import ServiceSettings


class PaymentSettings(ServiceSettings):
    """Where the provider is, how long one call to it may take, and what its webhooks are signed with."""

    provider_url: str
    provider_key_file: Path
    provider_timeout_s: float = Field(default=10.0, gt=0, le=50)
    provider_webhook_secret_file: Path | None = None
    settle_every_ms: int = Field(default=600_000, ge=100)
    ask_every_ms: int = Field(default=ASK_EVERY_MS, ge=100)
