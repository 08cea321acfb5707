"""A card number never reaches a disk: one is sent to every endpoint, then all files are searched."""

import hmac
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import httpx2
import psycopg
import pytest
from tests.e2e.conftest import ENVIRONMENT
from tests.e2e.shopper import Operator, Shopper
from tests.eventually import eventually

from holdfast.contracts.card_numbers import luhn
from holdfast.contracts.topics import CART, GATEWAY, INVENTORY, ORCHESTRATOR, PAYMENT
from holdfast.local.keys import Keys
from holdfast.local.platform import Platform

HOLDFAST = Path(sys.executable).parent / "holdfast"
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    with Platform(folder / "data", environment=ENVIRONMENT, webhooks=True) as platform:
        platform.wait_ready(120)
        Operator(platform.info).stock({"pen": 1_000})
        yield platform


class Cards:
    """A card number of its own for each endpoint, so that a number that is found names its endpoint."""

    def __init__(self) -> None:
        self._chance = random.Random(uuid4().int)
        self.doors: dict[str, str] = {}

    def one(self, door: str) -> str:
        """Return 16 digits that are used once."""
        digits = "4" + "".join(self._chance.choices("123456789", k=14))
        card = next(digits + last for last in "0123456789" if luhn(digits + last))
        self.doors[card] = door
        return card

    def grouped(self, door: str, separator: str = "-") -> str:
        """Return the same in groups of four."""
        card = self.one(door)
        return separator.join(card[at : at + 4] for at in range(0, 16, 4))

    def found_in(self, data: bytes) -> set[str]:
        """Return the doors whose card number stands in these bytes, whole or in any groups of four."""
        found = set()
        for card, door in self.doors.items():
            first = card[:4].encode()
            at = data.find(first)
            while at >= 0:
                near = bytes(byte for byte in data[at : at + 60] if 48 <= byte < 58)
                if near.startswith(card.encode()):
                    found.add(door)
                at = data.find(first, at + 1)
        return found


class Doors:
    """Every way in which text gets into a platform."""

    def __init__(self, platform: Platform, cards: Cards) -> None:
        self._info = platform.info
        self._cards = cards
        self._keys = Keys(platform.folder.keys)
        self._shopper = self._keys.token("ada")
        self._operator = self._keys.token("olga", operator=True)

    def ask(
        self,
        service: str,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str = "",
        headers: dict[str, str] | None = None,
    ) -> int:
        """Ask a service and return the status; what it answers says no card number either."""
        given = {"Authorization": f"Bearer {token or self._operator}", **(headers or {})}
        content = json.dumps(body, ensure_ascii=False).encode() if body is not None else b""
        at = self._info.services[service]
        url = (at.url if service == GATEWAY else at.ops_url) + path
        answer = httpx2.request(method, url, content=content, headers=given, timeout=60, trust_env=False)
        assert self._cards.found_in(answer.content) == set()
        return answer.status_code

    def shoppers(self) -> dict[str, int]:
        """Try every endpoint for shoppers."""
        one, grouped = self._cards.one, self._cards.grouped
        start = {"cart_id": "c-1", "payment_method": "pm_card_visa"}
        key = {"Idempotency-Key": uuid4().hex}

        def checkout(body: object, headers: dict[str, str] = key) -> int:
            return self.ask(GATEWAY, "POST", "/v1/checkouts", body, token=self._shopper, headers=headers)

        def put(path: str, body: object, token: str = self._shopper) -> int:
            return self.ask(GATEWAY, "PUT", path, body, token=token)

        return {
            "key": checkout(start, {"Idempotency-Key": one("key")}),
            "key in groups": checkout(start, {"Idempotency-Key": f"mine {grouped('key in groups', ' ')}"}),
            "payment method": checkout({**start, "payment_method": one("payment method")}),
            "payment method in a word": checkout({**start, "payment_method": f"pm{one('in a word')}x"}),
            "cart of a checkout": checkout({**start, "cart_id": grouped("cart of a checkout")}),
            "cart": put(f"/v1/carts/{grouped('cart')}", {"lines": []}),
            "cart that is read": self.ask(
                GATEWAY, "GET", f"/v1/carts/{one('cart that is read')}", token=self._shopper
            ),
            "line's code in the path": put(f"/v1/carts/c-1/lines/{one('line')}", {"quantity": 1}),
            "line's code": put("/v1/carts/c-1", {"lines": [{"sku": one("code"), "quantity": 1}]}),
            "page of products": self.ask(
                GATEWAY, "GET", f"/v1/products?after={one('page')}", token=self._shopper
            ),
            "sub of a token": put("/v1/carts/c-2", {"lines": []}, self._keys.token(grouped("sub"))),
        }

    def operators(self) -> dict[str, int]:
        """Try every endpoint for operators."""
        one, grouped = self._cards.one, self._cards.grouped
        saga = f"/v1/sagas/{uuid4()}"
        because = {"reason": f"paid with {grouped('reason', chr(0xA0))}"}
        product = {"sku": one("product"), "price_minor": 1, "currency": "GBP"}
        resolve = {"outcome": "not_charged", "reason": f"it was {one('resolve')}"}
        charged = {"outcome": "charged", "reason": "seen", "charge_id": one("charge id")}
        nobody = self._keys.token(one("operator"), operator=True)
        letters = {"filter": {"reason": "x"}, "reason": f"no {grouped('dead letter', '.')}"}
        return {
            "products": self.ask(CART, "PUT", "/v1/products", {"products": [product]}),
            "stock": self.ask(
                INVENTORY, "PUT", "/v1/stock", {"stock": [{"sku": one("stock"), "on_hand": 1}]}
            ),
            "page of stock": self.ask(INVENTORY, "GET", f"/v1/stock?after={one('page of stock')}"),
            "reason of a hold": self.ask(CART, "POST", "/v1/carts/c-1/hold", because),
            "cart of a hold": self.ask(CART, "POST", f"/v1/carts/{one('held')}/hold", {"reason": "x"}),
            "reason of a cancellation": self.ask(ORCHESTRATOR, "POST", f"{saga}/cancel", because),
            "reason of a resume": self.ask(ORCHESTRATOR, "POST", f"{saga}/resume", because),
            "reason of a resolution": self.ask(PAYMENT, "POST", f"/v1/payments/{uuid4()}/resolve", resolve),
            "charge of a resolution": self.ask(PAYMENT, "POST", f"/v1/payments/{uuid4()}/resolve", charged),
            "reason of a redrive": self.ask(CART, "POST", "/v1/dead-letters/redrive", letters),
            "reason of a discard": self.ask(CART, "POST", "/v1/dead-letters/discard", letters),
            "operator's name": self.ask(CART, "POST", "/v1/carts/c-1/hold", {"reason": "x"}, token=nobody),
        }

    def webhook(self) -> int:
        """Send what the provider could send: signed, about no saga of ours, with free text."""
        text = self._cards.one("webhook")
        about = {"id": f"pi_{text}", "metadata": {"note": text, "saga_id": str(uuid4())}, "description": text}
        body = json.dumps({"id": "evt_1", "type": f"x.{text}", "data": {"object": about}}).encode()
        now = str(int(time.time())).encode()
        secret = self._keys.webhook.read_bytes().strip()
        signature = hmac.new(secret, now + b"." + body, sha256).hexdigest()
        url = f"{self._info.services[PAYMENT].url}/webhooks/provider"
        headers = {"Stripe-Signature": f"t={now.decode()},v1={signature}"}
        return httpx2.post(url, content=body, headers=headers, trust_env=False, timeout=60).status_code

    def strange_headers(self) -> int:
        """Send numbers in headers that no endpoint checks."""
        one = self._cards.one
        headers = {"User-Agent": one("agent"), "Referer": one("referer"), "traceparent": one("trace")}
        return self.ask(GATEWAY, "GET", "/v1/products", token=self._shopper, headers=headers)


def command(data: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HOLDFAST, *words, "--data", data], capture_output=True, text=True, check=False, timeout=240
    )


def kept(platform: Platform) -> Callable[[], bytes]:
    """Return what reads every byte in the data folder, once the databases have written theirs."""

    def read() -> bytes:
        with psycopg.connect(platform.postgres.dsn("postgres"), autocommit=True) as connection:
            connection.execute("checkpoint")
        files = (path for path in sorted(platform.folder.root.rglob("*")) if path.is_file())
        return b"\n\n".join(path.read_bytes() for path in files)

    return read


def test_a_card_number_sent_to_every_endpoint_is_in_no_file(platform: Platform, tmp_path: Path) -> None:
    cards = Cards()
    doors = Doors(platform, cards)
    shopper = Shopper(platform.info)
    shopper.fill("c-1", {"pen": 1})
    refused = doors.shoppers() | doors.operators()
    not_422 = {door: status for door, status in refused.items() if status != 422}
    assert not_422 == {"sub of a token": 401, "operator's name": 401}
    assert doors.webhook() == 204
    assert doors.strange_headers() == 200
    orders = tmp_path / "orders.csv"
    rows = [
        f"1,pen,A PEN,1,12/1/2010 8:26,1.00,{cards.one('customer')},UK",
        f"2,{cards.grouped('code of an order', ' ')},A PEN,1,12/1/2010 8:26,1.00,7,UK",
        f"{cards.grouped('invoice')},pen,A PEN,1,12/1/2010 8:26,1.00,7,UK",
        f"4,pen,{cards.one('description')},1,12/1/2010 8:26,1.00,7,UK",
    ]
    orders.write_text("\n".join([HEADER, *rows]))
    replayed = command(platform.info.data, "replay", str(orders))
    assert replayed.returncode == 0, replayed.stderr
    forgotten = command(
        platform.info.data,
        "bus",
        "forget",
        "nobody",
        "--yes",
        "--reason",
        cards.one("reason of a forgetting"),
    )
    assert forgotten.returncode == 2
    named = command(platform.info.data, "replay", str(orders), "--run", cards.grouped("run"))
    assert named.returncode == 2
    for said in (replayed, forgotten, named):
        assert cards.found_in((said.stdout + said.stderr).encode()) == set()
    marker = f"marker-{uuid4().hex}"
    assert doors.ask(CART, "POST", "/v1/carts/c-1/hold", {"reason": marker}) == 200
    read = kept(platform)
    eventually(lambda: marker.encode() in read(), "what may be kept is found on the disk", 30)
    assert cards.found_in(read()) == set()
