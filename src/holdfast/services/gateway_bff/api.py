"""The public HTTP API: products, carts and checkouts. Errors are problems (RFC 9457).

Requests for carts and products are forwarded to cart-crud; `admission` decides which checkouts start.
"""

import asyncio
import hashlib
import math
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from holdfast.contracts.http_api import CheckoutStarted, SagaView, Snapshot, StartCheckout
from holdfast.messaging.store import Store, StoreUnavailable
from holdfast.runtime import problems
from holdfast.runtime.auth import SHOPPER, Authenticator, User
from holdfast.runtime.bodies import decode, read_body
from holdfast.runtime.kept_text import refuse_card_number
from holdfast.runtime.openapi import serve
from holdfast.runtime.problems import OVERLOADED, Problem
from holdfast.runtime.request_batcher import RequestBatcher
from holdfast.services.gateway_bff import status
from holdfast.services.gateway_bff.admission import (
    BusClosed,
    CheckoutAdmission,
    CheckoutResult,
    LoadShed,
    NotBuyable,
    QueuedRequest,
    UpstreamFailed,
)
from holdfast.services.gateway_bff.completion_waiter import CompletionWaiter
from holdfast.services.gateway_bff.domain import (
    ACCEPTED,
    COMPLETED,
    FAILED,
    Accepted,
    Checkout,
    CheckoutRequest,
    Rejected,
    RejectionReason,
)
from holdfast.services.gateway_bff.load_shedding import retry_after_s
from holdfast.services.gateway_bff.openapi import document
from holdfast.services.gateway_bff.problem_types import (
    KEY_INVALID,
    KEY_MISSING,
    NOT_BUYABLE,
    NOT_BUYABLE_DETAIL,
    NOT_BUYABLE_OTHERWISE,
    NOT_CANCELLABLE,
    WHY,
)
from holdfast.services.gateway_bff.store_port import GatewayTransaction
from holdfast.services.gateway_bff.upstream_clients import UpstreamClients

log = structlog.get_logger(__name__)

LINGER_S = 0.001
GROUPS_AT_ONCE = 2
WAIT_S_MAX = 30
_CHECKOUTS = "/v1/checkouts"

_start = msgspec.json.Decoder(StartCheckout)
_encoder = msgspec.json.Encoder()
_KEY = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")
_WAIT = re.compile(r"(?:^|[,;\s])wait=([0-9]{1,6})(?:$|[,;\s])")
_DIGITS = re.compile(r"[0-9]{13,}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def app(
    store: Store[GatewayTransaction],
    authenticator: Authenticator,
    admission: CheckoutAdmission,
    upstreams: UpstreamClients,
    waiter: CompletionWaiter,
) -> FastAPI:
    """Make the HTTP application; it closes `admission`, `upstreams` and `waiter` when it stops."""
    endpoints = _GatewayApi(store, authenticator, admission, upstreams, waiter)
    api = problems.application(endpoints.open)
    serve(
        api,
        (
            ("GET", "/v1/products", endpoints.forward),
            ("GET", "/v1/carts/{cart_id}", endpoints.forward),
            ("PUT", "/v1/carts/{cart_id}", endpoints.forward),
            ("PUT", "/v1/carts/{cart_id}/lines/{sku}", endpoints.forward),
            ("DELETE", "/v1/carts/{cart_id}/lines/{sku}", endpoints.forward),
            ("POST", _CHECKOUTS, endpoints.start),
            ("GET", f"{_CHECKOUTS}/{{saga_id}}", endpoints.show),
            ("POST", f"{_CHECKOUTS}/{{saga_id}}/cancel", endpoints.cancel),
            ("GET", "/openapi.json", _openapi_document),
        ),
    )
    return api


class _GatewayApi:
    """The endpoints of checkouts."""

    def __init__(
        self,
        store: Store[GatewayTransaction],
        authenticator: Authenticator,
        admission: CheckoutAdmission,
        upstreams: UpstreamClients,
        waiter: CompletionWaiter,
    ) -> None:
        self._store = store
        self._authenticator = authenticator
        self._admission = admission
        self._upstreams = upstreams
        self._waiter = waiter
        transient = (StoreUnavailable, Problem)
        self._requests: RequestBatcher[QueuedRequest, CheckoutResult] = RequestBatcher(
            admission.serve, transient=(StoreUnavailable,), groups_at_once=GROUPS_AT_ONCE, linger_s=LINGER_S
        )
        self._sagas: RequestBatcher[tuple[str, str], SagaView | None] = RequestBatcher(
            upstreams.sagas, transient=transient, groups_at_once=2
        )
        self._owned: RequestBatcher[tuple[str, str], Checkout | None] = RequestBatcher(
            self._find_owned, transient=transient, groups_at_once=2
        )

    @asynccontextmanager
    async def open(self, _: FastAPI) -> AsyncIterator[None]:
        self._waiter.open()
        yield
        await self._waiter.close()
        self._admission.close()
        await self._upstreams.close()

    async def forward(self, request: Request) -> Response:
        """Forward a request to cart-crud; a caller without a valid token is refused here already."""
        self._authenticator.user(request.headers.get("authorization"))
        return await self._upstreams.forward(request)

    async def start(self, request: Request) -> Response:
        user = self._authenticator.require(request.headers.get("authorization"), SHOPPER)
        key = _idempotency_key(request)
        body = decode(_start, await read_body(request.receive))
        for digits in _DIGITS.findall(body.payment_method):  # also between letters: all goes to the provider
            refuse_card_number(digits, "/payment_method")
        checkout_request = CheckoutRequest(
            user.name,
            key,
            _fingerprint(body),
            body.cart_id,
            body.payment_method,
            Snapshot(),
            body.expected_total_minor,
        )
        match await self._requests.ask(QueuedRequest(checkout_request, time.monotonic())):
            case Accepted(checkout, replayed):
                return _accepted(checkout, replayed=replayed)
            case Rejected(reason, other, total):
                log.info("checkout_refused", why=reason.value)
                raise _rejected(reason, other, total)
            case NotBuyable(why):
                log.info("checkout_refused", why=why)
                raise Problem(NOT_BUYABLE.get(why, NOT_BUYABLE_OTHERWISE), NOT_BUYABLE_DETAIL.get(why, ""))
            case UpstreamFailed(problem):
                raise problem
            case BusClosed(after_s):
                raise problems.unavailable("the message bus", math.ceil(after_s))
            case LoadShed():
                raise Problem(OVERLOADED, "nothing was started", headers=_retry_after(key))

    async def show(self, request: Request) -> Response:
        user = self._authenticator.require(request.headers.get("authorization"), SHOPPER)
        checkout = await self._owned_checkout(user, request.path_params["saga_id"])
        saga_id, headers = checkout.saga_id, {}
        wait_s = _requested_wait_s(request.headers.get("prefer", ""))
        if wait_s:
            headers["Preference-Applied"] = f"wait={wait_s}"
            if not checkout.is_terminal:
                await self._waiter.wait(saga_id, wait_s)
                checkout = await self._owned.ask((saga_id, user.name)) or checkout
        return _json(await self._view(checkout), 200, headers)

    async def cancel(self, request: Request) -> Response:
        """Cancel the checkout, unless it is past its pivot; a repeated request returns its present state."""
        user = self._authenticator.require(request.headers.get("authorization"), SHOPPER)
        checkout = await self._owned_checkout(user, request.path_params["saga_id"])
        if checkout.status == FAILED:
            return _json(await self._view(checkout), 200, {})
        if checkout.status == COMPLETED:
            raise _not_cancellable(COMPLETED)
        result = await self._upstreams.cancel(checkout.saga_id, checkout.user_id)
        if not result.cancelled:
            raise _not_cancellable(result.saga.state)
        headers = {"Location": f"{_CHECKOUTS}/{checkout.saga_id}"}
        return _json(status.view(checkout, result.saga), 202, headers)

    async def _owned_checkout(self, user: User, saga_id: str) -> Checkout:
        checkout = await self._owned.ask((saga_id, user.name)) if _UUID.fullmatch(saga_id) else None
        if checkout is None:
            raise Problem(problems.NOT_FOUND, "there is no such checkout")
        return checkout

    async def _view(self, checkout: Checkout) -> Any:
        """Return the checkout with the orchestrator's steps; without them if that is down."""
        try:
            saga = await self._sagas.ask((checkout.saga_id, checkout.user_id))
        except Problem:
            return status.view(checkout, None, stale=not checkout.is_terminal)
        return status.view(checkout, saga)

    async def _find_owned(self, owned: Sequence[tuple[str, str]]) -> list[Checkout | None]:
        return await asyncio.to_thread(self._read_owned, owned)

    def _read_owned(self, owned: Sequence[tuple[str, str]]) -> list[Checkout | None]:
        with self._store.transaction() as tx:
            found = tx.find_owned(owned)
        return [found.get(pair) for pair in owned]


async def _openapi_document(_: Request) -> Response:
    """Return the OpenAPI document; it is the same for every caller, so no token is needed."""
    return _json(document(), 200, {})


def _idempotency_key(request: Request) -> str:
    key = request.headers.get("idempotency-key")
    if key is None:
        raise Problem(KEY_MISSING, "send a header `Idempotency-Key`, a fresh value for each checkout")
    if not _KEY.fullmatch(key):
        raise Problem(KEY_INVALID, "it is 1 to 255 printable ASCII characters")
    refuse_card_number(key, "/Idempotency-Key")
    return key


def _fingerprint(body: StartCheckout) -> bytes:
    return hashlib.sha256(b"POST\n/v1/checkouts\n" + _encoder.encode(body)).digest()


def _requested_wait_s(prefer: str) -> int:
    found = _WAIT.search(prefer)
    return min(WAIT_S_MAX, int(found[1])) if found else 0


def _accepted(checkout: Checkout, *, replayed: bool) -> Response:
    headers = {"Location": f"{_CHECKOUTS}/{checkout.saga_id}"}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return _json(CheckoutStarted(checkout.saga_id, ACCEPTED), 202, headers)


def _rejected(reason: RejectionReason, other: Checkout | None, total_minor: int) -> Problem:
    kind = WHY[reason]
    if reason is RejectionReason.TOTAL_DIFFERS:
        detail = f"the total is {total_minor} minor units now; nothing was started"
        return Problem(kind, detail, extra={"total_minor": total_minor})
    if reason in (RejectionReason.CART_IN_CHECKOUT, RejectionReason.CART_BOUGHT) and other is not None:
        link = f"{_CHECKOUTS}/{other.saga_id}"
        return Problem(kind, f"see {link}", extra={"checkout": other.saga_id}, headers={"Link": f"<{link}>"})
    return Problem(kind, headers={"Retry-After": "1"} if reason is RejectionReason.SNAPSHOT_IS_OLD else None)


def _not_cancellable(state: str) -> Problem:
    detail = "it is paid and placed" if state == COMPLETED else "your order is just being completed"
    return Problem(NOT_CANCELLABLE, detail, extra={"state": state})


def _retry_after(key: str) -> dict[str, str]:
    return {"Retry-After": str(retry_after_s(key))}


def _json(body: object, status_code: int, headers: dict[str, str]) -> Response:
    return Response(_encoder.encode(body), status_code, headers, "application/json")
