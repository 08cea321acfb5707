"""inventory-write's settings."""

from pydantic import Field

from holdfast.messaging.outcome_poller import ASK_EVERY_MS
from holdfast.runtime.settings import ServiceSettings


class InventorySettings(ServiceSettings):
    """What inventory needs beyond what every service has."""

    ask_every_ms: int = Field(default=ASK_EVERY_MS, ge=100)
