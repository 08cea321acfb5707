"""A cart-crud with three products, on the in-memory store, and callers of its API."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from tests.callers import Caller, authenticator, calling, gateway_token, keys, service_authenticator, whole

from holdfast.contracts.topics import CART
from holdfast.messaging.memory_store import MemoryStore
from holdfast.services.cart_crud.api import apps
from holdfast.services.cart_crud.memory_store import MemoryCartTransaction

PRODUCTS = [
    {"sku": "mug", "price_minor": 650, "currency": "GBP"},
    {"sku": "tea", "price_minor": 399, "currency": "GBP"},
    {"sku": "wein", "price_minor": 1200, "currency": "EUR"},
]


@dataclass
class Shop:
    store: MemoryStore[MemoryCartTransaction]
    client: httpx2.AsyncClient
    ada: Caller
    eve: Caller
    operator: Caller
    gateway: Caller


def shop(scenario: Callable[[Shop], Awaitable[None]]) -> None:
    """Run a scenario in a shop that has three products."""

    async def main() -> None:
        store = MemoryStore(MemoryCartTransaction, lambda: 0)
        with keys() as made:
            services = service_authenticator(made, CART)
            async with calling(whole(apps(store, authenticator(made), services))) as client:
                tokens = made.token("ada"), made.token("eve"), made.token("oscar", operator=True)
                ada, eve, operator = (Caller(client, token) for token in tokens)
                set_up = await operator.ask("PUT", "/v1/products", {"products": PRODUCTS})
                assert (set_up.status_code, set_up.json()) == (200, {"products": 3})
                gateway = Caller(client, gateway_token(made, CART))
                await scenario(Shop(store, client, ada, eve, operator, gateway))

    asyncio.run(main())


def lines(**pieces: int) -> dict[str, Any]:
    return {"lines": [{"sku": sku, "quantity": count} for sku, count in pieces.items()]}
