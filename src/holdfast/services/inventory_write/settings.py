"""inventory-write's settings."""

from pydantic import Field

from holdfast.messaging.outcome_poller import ASK_EVERY_MS
from holdfast.runtime.settings import ServiceSettings


class InventorySettings(ServiceSettings):
    """The settings of every service, and how often outcomes are asked for."""

    ask_every_ms: int = Field(default=ASK_EVERY_MS, ge=100)
