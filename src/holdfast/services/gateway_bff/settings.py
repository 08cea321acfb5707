"""gateway-bff's settings."""

from pydantic import Field

from holdfast.runtime.settings import URLS_PATTERN, ServiceSettings
from holdfast.services.gateway_bff.resending import FIRST_AFTER_MS
from holdfast.services.gateway_bff.shedding import Limits


class GatewaySettings(ServiceSettings):
    """Where the services are that the door asks: each is one address or several, with commas between."""

    cart_url: str = Field(pattern=URLS_PATTERN)
    orchestrator_url: str = Field(pattern=URLS_PATTERN)
    resend_after_ms: int = Field(default=FIRST_AFTER_MS, ge=100)
    under_way_max: int = Field(default=Limits.under_way_max, ge=1)
