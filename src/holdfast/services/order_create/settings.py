"""order-create's settings."""

from pydantic import Field

from holdfast.messaging.outcome_poller import ASK_EVERY_MS
from holdfast.runtime.settings import ServiceSettings


class OrderSettings(ServiceSettings):
    """The largest total of an order, in minor units: by default half a million pounds."""

    order_total_max_minor: int = Field(default=50_000_000, ge=1)
    ask_every_ms: int = Field(default=ASK_EVERY_MS, ge=100)
