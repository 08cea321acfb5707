"""gateway-bff's settings."""

from pathlib import Path

from pydantic import Field, field_validator

from holdfast.runtime.service_tokens import read_signing_key
from holdfast.runtime.settings import URLS_PATTERN, ServiceSettings
from holdfast.services.gateway_bff.checkout_resender import FIRST_AFTER_MS
from holdfast.services.gateway_bff.load_shedding import LoadLimits


class GatewaySettings(ServiceSettings):
    """The addresses of the services that the gateway calls, and the key that signs its calls.

    `cart_url` and `orchestrator_url` are one address, or several with commas between.
    """

    cart_url: str = Field(pattern=URLS_PATTERN)
    orchestrator_url: str = Field(pattern=URLS_PATTERN)
    service_key: Path
    resend_after_ms: int = Field(default=FIRST_AFTER_MS, ge=100)
    http_connections_per_client_max: int = Field(default=200, ge=0)
    under_way_max: int = Field(default=LoadLimits.under_way_max, ge=1)

    @field_validator("service_key")
    @classmethod
    def _holds_a_key(cls, path: Path) -> Path:
        read_signing_key(path)
        return path
