"""A shopper and an operator at the public HTTP API of a running platform."""

from typing import Any
from uuid import uuid4

import httpx2

from holdfast.contracts.topics import CART, GATEWAY, INVENTORY, ORCHESTRATOR
from holdfast.local.info import PlatformInfo
from holdfast.local.keys import Keys

TERMINAL = ("COMPLETED", "FAILED")


class Shopper:
    """One signed-in shopper."""

    def __init__(self, info: PlatformInfo, name: str = "ada") -> None:
        token = Keys(info.folder.keys).token(name)
        self.client = httpx2.Client(
            base_url=info.services[GATEWAY].url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=40,
            trust_env=False,
        )

    def fill(self, cart_id: str, pieces: dict[str, int]) -> dict[str, Any]:
        lines = [{"sku": sku, "quantity": count} for sku, count in pieces.items()]
        return _json(self.client.put(f"/v1/carts/{cart_id}", json={"lines": lines}))

    def cart(self, cart_id: str) -> dict[str, Any]:
        return _json(self.client.get(f"/v1/carts/{cart_id}"))

    def post(self, cart_id: str, card: str = "pm_card_visa", key: str = "", **more: Any) -> httpx2.Response:
        body = {"cart_id": cart_id, "payment_method": card, **more}
        return self.client.post("/v1/checkouts", json=body, headers={"Idempotency-Key": key or uuid4().hex})

    def buy(self, pieces: dict[str, int], card: str = "pm_card_visa") -> str:
        """Fill a fresh cart and start its checkout; return the saga id."""
        cart_id = f"cart-{uuid4().hex[:12]}"
        self.fill(cart_id, pieces)
        response = self.post(cart_id, card)
        assert response.status_code == 202, response.text
        return str(response.json()["saga_id"])

    def look(self, saga_id: str) -> dict[str, Any]:
        return _json(self.client.get(f"/v1/checkouts/{saga_id}"))

    def end_of(self, saga_id: str, asks_max: int = 10) -> dict[str, Any]:
        """Wait until the checkout is terminal and return it."""
        for _ in range(asks_max):
            response = self.client.get(f"/v1/checkouts/{saga_id}", headers={"Prefer": "wait=10"})
            found = _json(response)
            if found["state"] in TERMINAL:
                return found
        raise AssertionError(f"{saga_id} is still {found['state']}")


class Operator:
    """Sets prices and stock, resumes sagas."""

    def __init__(self, info: PlatformInfo) -> None:
        token = Keys(info.folder.keys).token("olga", operator=True)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._info = info

    def stock(self, pieces: dict[str, int], price_minor: int = 250) -> None:
        products = [{"sku": sku, "price_minor": price_minor, "currency": "GBP"} for sku in pieces]
        stock = [{"sku": sku, "on_hand": count} for sku, count in pieces.items()]
        self._put(CART, "/v1/products", {"products": products})
        self._put(INVENTORY, "/v1/stock", {"stock": stock})

    def on_hand(self, sku: str) -> dict[str, int]:
        url = f"{self._info.services[INVENTORY].ops_url}/v1/stock?limit=1000"
        items = _json(httpx2.get(url, headers=self._headers, trust_env=False))["items"]
        return next(item for item in items if item["sku"] == sku)

    def resume(self, saga_id: str, reason: str) -> httpx2.Response:
        url = f"{self._info.services[ORCHESTRATOR].ops_url}/v1/sagas/{saga_id}/resume"
        return httpx2.post(url, json={"reason": reason}, headers=self._headers, trust_env=False, timeout=60)

    def _put(self, service: str, path: str, body: dict[str, Any]) -> None:
        url = self._info.services[service].ops_url + path
        response = httpx2.put(url, json=body, headers=self._headers, trust_env=False)
        assert response.is_success, response.text


def _json(response: httpx2.Response) -> dict[str, Any]:
    assert response.is_success, f"{response.status_code}: {response.text}"
    document = response.json()
    assert isinstance(document, dict)
    return document
