"""payment-gateway's settings."""

from pathlib import Path

from pydantic import Field

from holdfast.messaging.asking import ASK_EVERY_MS
from holdfast.runtime.settings import ServiceSettings


class PaymentSettings(ServiceSettings):
    """Where the provider is and how long one call to it may take."""

    provider_url: str
    provider_key_file: Path
    provider_timeout_s: float = Field(default=10.0, gt=0, le=50)
    ask_every_ms: int = Field(default=ASK_EVERY_MS, ge=100)
