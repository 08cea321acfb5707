"""gateway-bff's settings."""

from pydantic import Field

from holdfast.runtime.settings import URL_PATTERN, ServiceSettings
from holdfast.services.gateway_bff.resending import FIRST_AFTER_MS
from holdfast.services.gateway_bff.shedding import Limits


class GatewaySettings(ServiceSettings):
    """Where the services are that the door asks."""

    cart_url: str = Field(pattern=URL_PATTERN)
    orchestrator_url: str = Field(pattern=URL_PATTERN)
    resend_after_ms: int = Field(default=FIRST_AFTER_MS, ge=100)
    http_connections_per_client_max: int = Field(default=200, ge=0)
    under_way_max: int = Field(default=Limits.under_way_max, ge=1)
