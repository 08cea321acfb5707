"""The public API in memory, with scripted misbehaviour: answers, closed connections, lost answers, silence.

It keeps the promises of the real one that a client can rely on (keys, owners, carts), and counts what it saw.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

from holdfast.local.replay import CARD, DECLINED_CARDS

OPERATOR = "operator"


class Request(NamedTuple):
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any
    user: str


class Answer(NamedTuple):
    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


Fault = Answer | Literal["close", "lose", "hang"]
"""An answer instead of the effect; the connection closed before the effect, or after it; no answer ever."""


@dataclass
class Checkout:
    saga_id: str
    cart_id: str
    user: str
    body: Any
    state: str = "CHECKOUT_INITIATED"
    reason: str | None = None


@dataclass
class FakeGateway:
    """`fault` is asked for every request; `early` is how often a status is answered before its saga ended.

    `user_of` says whose a bearer token is.
    """

    fault: Callable[[Request], Fault | None] = lambda _: None
    early: int = 0
    user_of: Callable[[str], str] = lambda token: token
    prices: dict[str, int] = field(default_factory=dict)
    stock: dict[str, dict[str, Any]] = field(default_factory=dict)
    carts: dict[str, dict[str, int]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    checkouts: dict[tuple[str, str], Checkout] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    connections: int = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a free port; yields the address."""
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    def count(self, method: str, path: str) -> int:
        return sum(request.method == method and request.path == path for request in self.requests)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not reader.at_eof():
                answer = await self._answer(await _read(reader, self.user_of))
                if answer is None:
                    break
                writer.write(_bytes(answer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        finally:
            writer.close()

    async def _answer(self, request: Request) -> Answer | None:
        self.requests.append(request)
        fault = self.fault(request)
        if isinstance(fault, Answer):
            return fault
        if fault == "close":
            return None
        if fault == "hang":
            await asyncio.Event().wait()
        answer = self._route(request)
        return None if fault == "lose" else answer

    def _route(self, request: Request) -> Answer:
        match request.method, request.path.strip("/").split("/"):
            case "PUT", ["v1", "products"]:
                assert request.user == OPERATOR
                self.prices |= {row["sku"]: row["price_minor"] for row in request.body["products"]}
                return Answer(200, {})
            case "PUT", ["v1", "stock"]:
                assert request.user == OPERATOR
                for row in request.body["stock"]:
                    self._set_stock(row["sku"], row["on_hand"])
                return Answer(200, {})
            case "GET", ["v1", "stock"]:
                return self._stock_page(request)
            case "PUT", ["v1", "carts", cart_id]:
                return self._put_cart(cart_id, request)
            case "POST", ["v1", "checkouts"]:
                return self._post_checkout(request)
            case "GET", ["v1", "checkouts", saga_id]:
                return self._get_checkout(saga_id, request)
        return _problem(404, "not_found")

    def _set_stock(self, sku: str, initial: int) -> None:
        row = self.stock.setdefault(sku, {"sku": sku, "initial": 0, "on_hand": 0, "reserved": 0, "sold": 0})
        row["on_hand"] += initial - row["initial"]
        row["initial"] = initial
        assert row["on_hand"] >= 0

    def _stock_page(self, request: Request) -> Answer:
        after = request.query.get("after", [""])[0]
        limit = min(3, int(request.query["limit"][0]))
        rows = [self.stock[sku] for sku in sorted(self.stock) if sku > after]
        return Answer(
            200, {"items": rows[:limit], "next": rows[limit - 1]["sku"] if len(rows) > limit else None}
        )

    def _put_cart(self, cart_id: str, request: Request) -> Answer:
        if self.owners.setdefault(cart_id, request.user) != request.user:
            return _problem(404, "not_found")
        for number, line in enumerate(request.body["lines"]):
            if line["sku"] not in self.prices:
                return _problem(
                    422, "unknown_product", [{"pointer": f"/lines/{number}", "detail": line["sku"]}]
                )
        self.carts[cart_id] = {line["sku"]: line["quantity"] for line in request.body["lines"]}
        return Answer(200, {"version": 1})

    def _post_checkout(self, request: Request) -> Answer:
        key = (request.user, request.headers["idempotency-key"])
        cart_id = request.body["cart_id"]
        known = self.checkouts.get(key)
        if known is None:
            if not self.carts.get(cart_id):
                return _problem(422, "cart_is_empty")
            if any(each.cart_id == cart_id and each.state != "FAILED" for each in self.checkouts.values()):
                return _problem(409, "cart_in_checkout")
            known = Checkout(f"saga-{len(self.checkouts)}", cart_id, request.user, request.body)
            self.checkouts[key] = known
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        elif known.body != request.body:
            return _problem(422, "key_reused")
        return Answer(202, {"saga_id": known.saga_id, "status": known.state})

    def _get_checkout(self, saga_id: str, request: Request) -> Answer:
        checkout = next(each for each in self.checkouts.values() if each.saga_id == saga_id)
        if checkout.user != request.user:
            return _problem(404, "not_found")
        if self.early:
            self.early -= 1
        elif checkout.state == "CHECKOUT_INITIATED":
            self._finish(checkout)
        return Answer(200, {"saga_id": saga_id, "state": checkout.state, "reason": checkout.reason})

    def _finish(self, checkout: Checkout) -> None:
        self.under_way -= 1
        cart = self.carts[checkout.cart_id]
        card = checkout.body["payment_method"]
        checkout.state = "FAILED"
        if any(self.stock[sku]["on_hand"] < pieces for sku, pieces in cart.items()):
            checkout.reason = "out_of_stock"
        elif card != CARD:
            checkout.reason = ("card_declined", "insufficient_funds")[DECLINED_CARDS.index(card)]
        else:
            checkout.state = "COMPLETED"
            for sku, pieces in cart.items():
                self.stock[sku]["on_hand"] -= pieces
                self.stock[sku]["sold"] += pieces
            self.carts[checkout.cart_id] = {}


async def _read(reader: asyncio.StreamReader, user_of: Callable[[str], str]) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    parts = urlsplit(target)
    return Request(
        method,
        parts.path,
        parse_qs(parts.query),
        headers,
        json.loads(body) if body else None,
        user_of(headers["authorization"].removeprefix("Bearer ")),
    )


def _bytes(answer: Answer) -> bytes:
    body = json.dumps(answer.body).encode()
    headers = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    return f"HTTP/1.1 {answer.status} X\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


def _problem(status: int, code: str, errors: list[dict[str, str]] | None = None) -> Answer:
    return Answer(status, {"type": "about:blank", "code": code, "detail": f"it is {code}", "errors": errors})
