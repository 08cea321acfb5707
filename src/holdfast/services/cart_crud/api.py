"""cart-crud over HTTP: for shoppers, for operators, and for the gateway, which reads snapshots of carts.

Calls that come at the same time share one transaction. The rules of edits are in `cart_edits`.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
import structlog
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from holdfast.contracts import internal_calls
from holdfast.contracts.http_api import (
    CartHold,
    HoldCart,
    PricedCart,
    Product,
    ProductPage,
    ProductsSet,
    SetCart,
    SetLine,
    SetProducts,
    Snapshots,
    SnapshotsRequest,
)
from holdfast.messaging.store import RowsUnavailable, Store, StoreUnavailable
from holdfast.runtime import problems
from holdfast.runtime.auth import OPERATOR_ACTS, SHOPPER, Authenticator, ServiceAuthenticator, User
from holdfast.runtime.bodies import decode, decode_own, read_body
from holdfast.runtime.openapi import Apps, serve
from holdfast.runtime.parameters import name_in_path, page_in_query
from holdfast.runtime.problems import NOT_FOUND, FieldError, Problem, ProblemType
from holdfast.runtime.request_batcher import RequestBatcher
from holdfast.runtime.threads import Threads
from holdfast.services.cart_crud import cart_edits
from holdfast.services.cart_crud.cart_edits import (
    Change,
    Edit,
    EditRefused,
    LineMissing,
    Price,
    Refused,
    VersionChanged,
)
from holdfast.services.cart_crud.cart_service import CartService, Priced, SeveralCarts
from holdfast.services.cart_crud.store_port import CartServiceTransaction

log = structlog.get_logger(__name__)

PRODUCTS_BYTES_MAX = 1024 * 1024
SNAPSHOTS_BYTES_MAX = 1024 * 1024

SEVERAL_CARTS = ProblemType("several_carts", 409, "Several users have a cart of this id")
OTHER_VERSION = ProblemType("other_version", 412, "The cart has changed meanwhile")
WRONG = {
    code: ProblemType(code, 422, title)
    for code, title in (
        (cart_edits.UNKNOWN_PRODUCT, "There is no such product"),
        (cart_edits.MIXED_CURRENCY, "One cart has one currency"),
        (cart_edits.TOO_MANY_LINES, "The cart has too many lines"),
        (cart_edits.TOO_MANY_PIECES, "The line has too many pieces"),
    )
}

_set_cart = msgspec.json.Decoder(SetCart)
_set_line = msgspec.json.Decoder(SetLine)
_set_products = msgspec.json.Decoder(SetProducts)
_hold_cart = msgspec.json.Decoder(HoldCart)
_take_snapshots = msgspec.json.Decoder(SnapshotsRequest)
_encoder = msgspec.json.Encoder()
_VERSION = re.compile(r'"([0-9]{1,15})"')

Q = TypeVar("Q")
A = TypeVar("A")


def apps(
    store: Store[CartServiceTransaction], authenticator: Authenticator, services: ServiceAuthenticator
) -> Apps:
    """Make the HTTP applications."""
    api = _CartApi(CartService(store), authenticator, services)
    made = Apps(problems.application(api.open), problems.application())
    serve(
        made.public,
        (
            ("GET", "/v1/products", api.list_products),
            ("GET", "/v1/carts/{cart_id}", api.read_cart),
            ("PUT", "/v1/carts/{cart_id}", api.set_cart),
            ("PUT", "/v1/carts/{cart_id}/lines/{sku}", api.set_line),
            ("DELETE", "/v1/carts/{cart_id}/lines/{sku}", api.remove_line),
            ("POST", internal_calls.SNAPSHOTS, api.take_snapshots),
        ),
    )
    serve(
        made.ops,
        (
            ("PUT", "/v1/products", api.set_products),
            ("POST", "/v1/carts/{cart_id}/hold", api.hold),
            ("POST", "/v1/carts/{cart_id}/release", api.release),
        ),
    )
    return made


class _CartApi:
    """The endpoints, and the threads in which the service works for them."""

    def __init__(
        self, service: CartService, authenticator: Authenticator, services: ServiceAuthenticator
    ) -> None:
        self._service = service
        self._authenticator = authenticator
        self._services = services
        # Each kind of work has its own threads, so that no kind waits for a slow one.
        self._products = Threads("products", 1)
        self._snapshots = Threads("snapshots", 2)
        edits, reads = Threads("edits", 1), Threads("reads", 1)
        self._threads = (self._products, self._snapshots, edits, reads)
        unavailable = (StoreUnavailable,)
        self._edits: RequestBatcher[Edit, Priced | Refused] = RequestBatcher(
            _in_thread(edits, service.edit), transient=unavailable, of_some=(RowsUnavailable,)
        )
        self._reads: RequestBatcher[tuple[str, str], Priced | None] = RequestBatcher(
            _in_thread(reads, service.read), transient=unavailable
        )

    @asynccontextmanager
    async def open(self, _: FastAPI) -> AsyncIterator[None]:
        yield
        for threads in self._threads:
            threads.close()

    # -- shoppers

    async def list_products(self, request: Request) -> Response:
        self._authenticator.user(request.headers.get("authorization"))
        after, limit = page_in_query(request)
        prices = await self._products.run(self._service.prices, after, limit + 1)
        items = tuple(Product(*price) for price in prices[:limit])
        return _json(ProductPage(items, items[-1].sku if len(prices) > limit else None))

    async def read_cart(self, request: Request) -> Response:
        user, cart_id = self._shopper(request)
        found = await self._reads.ask((cart_id, user.name))
        if found is None:
            raise _no_such_cart()
        return _show(found)

    async def set_cart(self, request: Request) -> Response:
        user, cart_id = self._shopper(request)
        body = decode(_set_cart, await read_body(request.receive))
        lines = tuple((line.sku, line.quantity) for line in body.lines)
        return await self._edit(request, user, cart_id, cart_edits.SetAll(lines))

    async def set_line(self, request: Request) -> Response:
        user, cart_id = self._shopper(request)
        sku = name_in_path(request, "sku")
        body = decode(_set_line, await read_body(request.receive))
        return await self._edit(request, user, cart_id, cart_edits.SetOne(sku, body.quantity))

    async def remove_line(self, request: Request) -> Response:
        user, cart_id = self._shopper(request)
        return await self._edit(request, user, cart_id, cart_edits.RemoveOne(name_in_path(request, "sku")))

    # -- operators

    async def set_products(self, request: Request) -> Response:
        user = self._operator(request)
        products = decode(_set_products, await read_body(request.receive, PRODUCTS_BYTES_MAX)).products
        times = Counter(product.sku for product in products)
        twice = [
            FieldError(f"/products/{index}/sku", "stands here more than once")
            for index, product in enumerate(products)
            if times[product.sku] > 1
        ]
        if twice:
            raise Problem(problems.INVALID_REQUEST, errors=twice)
        prices = [Price(product.sku, product.price_minor, product.currency) for product in products]
        await self._products.run(self._service.set_prices, user.name, prices)
        return _json(ProductsSet(len(prices)))

    async def hold(self, request: Request) -> Response:
        return await self._hold(request, held=True)

    async def release(self, request: Request) -> Response:
        return await self._hold(request, held=False)

    async def _hold(self, request: Request, *, held: bool) -> Response:
        user, cart_id = self._operator(request), name_in_path(request, "cart_id")
        body = decode(_hold_cart, await read_body(request.receive))
        match await self._products.run(
            lambda: self._service.hold(user.name, cart_id, body.reason, held=held, user_id=body.user_id)
        ):
            case None:
                raise _no_such_cart()
            case SeveralCarts(users):
                detail = f"say whose; there is one of {', '.join(users)}"
                raise Problem(SEVERAL_CARTS, detail, extra={"users": list(users)})
            case (_, user_id):
                if held:
                    log.info("cart_held", cart_id=cart_id, user_id=user_id, operator=user.name)
                else:
                    log.info("cart_released", cart_id=cart_id, user_id=user_id, operator=user.name)
                return _json(CartHold(cart_id, user_id, held))

    # -- the gateway

    async def take_snapshots(self, request: Request) -> Response:
        """Answer the gateway for the users whose tokens it has checked."""
        self._services.require(request.headers.get("authorization"), internal_calls.SNAPSHOTS)
        body = decode_own(_take_snapshots, await read_body(request.receive, SNAPSHOTS_BYTES_MAX))
        owned = [(cart.cart_id, cart.user_id) for cart in body.carts]
        return _json(Snapshots(tuple(await self._snapshots.run(self._service.snapshots, owned))))

    # -- what they share

    def _shopper(self, request: Request) -> tuple[User, str]:
        user = self._authenticator.require(request.headers.get("authorization"), SHOPPER)
        return user, name_in_path(request, "cart_id")

    def _operator(self, request: Request) -> User:
        return self._authenticator.require(request.headers.get("authorization"), OPERATOR_ACTS)

    async def _edit(self, request: Request, user: User, cart_id: str, change: Change) -> Response:
        version = _version_required(request.headers.get("if-match"))
        match await self._edits.ask(Edit(cart_id, user.name, change, version)):
            case LineMissing():
                raise _no_such_cart()
            case VersionChanged(now):
                raise Problem(OTHER_VERSION, f"the cart is at version {now}", extra={"version": now})
            case EditRefused(code, pointer, detail):
                raise Problem(WRONG[code], detail, errors=[FieldError(pointer, detail)])
            case priced:
                return _show(priced)


def _no_such_cart() -> Problem:
    return Problem(NOT_FOUND, "there is no such cart")


def _version_required(if_match: str | None) -> int | None:
    """Read `If-Match`: None without it, 0 for any version, -1 if it can match no version."""
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return 0
    one = _VERSION.fullmatch(if_match.strip())
    return int(one[1]) or -1 if one else -1


def _show(priced: Priced) -> Response:
    cart, found = priced
    body = PricedCart(cart.cart_id, cart.version, found.currency or None, found.total_minor, found.lines)
    return _json(body, {"ETag": f'"{cart.version}"'})


def _json(body: object, headers: dict[str, str] | None = None) -> Response:
    return Response(_encoder.encode(body), headers=headers, media_type="application/json")


def _in_thread(
    threads: Threads, work: Callable[[Sequence[Q]], Sequence[A]]
) -> Callable[[Sequence[Q]], Awaitable[Sequence[A]]]:
    async def run(questions: Sequence[Q]) -> Sequence[A]:
        return await threads.run(work, questions)

    return run
