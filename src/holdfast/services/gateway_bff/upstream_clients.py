"""The gateway's HTTP calls to other services: cart snapshots, sagas, cancellations, forwarded requests.

A service that is down raises Problem, never another error. Each kind of call has its own connections, bound
and record of failures, so that a slow kind delays no other.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response

from holdfast.contracts import internal_calls
from holdfast.contracts.http_api import (
    Cancellation,
    CancelSaga,
    CartOfUser,
    SagaOfUser,
    SagaView,
    SagaViews,
    SagaViewsRequest,
    Snapshot,
    Snapshots,
    SnapshotsRequest,
)
from holdfast.contracts.topics import CART, ORCHESTRATOR
from holdfast.runtime.bodies import read_body
from holdfast.runtime.failover_client import FailoverClient
from holdfast.runtime.http_client import ConnectionFailed
from holdfast.runtime.http_client import Response as ClientResponse
from holdfast.runtime.problems import OVERLOADED, Problem, unavailable

TIMEOUT_S = 5.0
SAGAS_TIMEOUT_S = 2.0
"""If the orchestrator is slower than this, a checkout is shown from the gateway's own row."""
QUESTIONS_MAX = 16
"""Connections for calls that serve many callers at once; few of them run side by side."""
CANCELS_MAX = 64
FORWARDED_MAX = 256
"""Bound of product look-ups, cart reads and cart changes under way, for each kind; more are refused."""
_FORWARDED_HEADERS = ("authorization", "content-type", "if-match", "traceparent")
_RETURNED_HEADERS = frozenset({"content-type", "etag", "www-authenticate", "retry-after", "allow"})
_DISPLAY_NAMES = {CART: "cart-crud", ORCHESTRATOR: "the orchestrator"}

log = structlog.get_logger(__name__)

T = TypeVar("T")


_KINDS = ("products", "reads", "changes")


def _kind(method: str, path: str) -> str:
    """Return the kind of a forwarded request, one of `_KINDS`."""
    if method != "GET":
        return "changes"
    return "products" if path.startswith("/v1/products") else "reads"


class _Forwarder:
    """Forwards one kind of requests and counts how many are under way."""

    def __init__(self, client: FailoverClient) -> None:
        self.client = client
        self._under_way = 0

    async def request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> ClientResponse:
        """Forward a request. Raises Problem, at once if too many are under way."""
        if self._under_way >= FORWARDED_MAX:
            raise Problem(OVERLOADED, headers={"Retry-After": "1"})
        self._under_way += 1
        try:
            return await self.client.request(
                method, path, headers, body, TIMEOUT_S, repeatable=method == "GET"
            )
        except ConnectionFailed:
            raise unavailable("cart-crud") from None
        finally:
            self._under_way -= 1


class UpstreamClients:
    """Clients of cart-crud and of the orchestrator. One event loop only.

    `cart_url` and `orchestrator_url` are one address, or several with commas between; the first that answers
    is used. `authorization` makes the header by which the gateway authenticates to the named service.
    """

    def __init__(self, cart_url: str, orchestrator_url: str, authorization: Callable[[str], str]) -> None:
        carts, orchestrators = cart_url.split(","), orchestrator_url.split(",")
        self._snapshots = FailoverClient(carts, QUESTIONS_MAX)
        self._forwarded = {kind: _Forwarder(FailoverClient(carts, FORWARDED_MAX)) for kind in _KINDS}
        self._sagas = FailoverClient(orchestrators, QUESTIONS_MAX)
        self._cancels = FailoverClient(orchestrators, CANCELS_MAX)
        self._authorization = authorization

    async def snapshots(self, carts: Sequence[tuple[str, str]]) -> list[Snapshot]:
        """Take snapshots of these (cart id, user id). Raises Problem."""
        body = SnapshotsRequest(tuple(CartOfUser(cart_id, user_id) for cart_id, user_id in carts))
        taken = await self._post(self._snapshots, CART, internal_calls.SNAPSHOTS, body, Snapshots, TIMEOUT_S)
        return list(taken.carts)

    async def sagas(self, sagas: Sequence[tuple[str, str]]) -> list[SagaView | None]:
        """Return the orchestrator's views of these (saga id, user id), None if unknown. Raises Problem."""
        body = SagaViewsRequest(tuple(SagaOfUser(saga_id, user_id) for saga_id, user_id in sagas))
        views = await self._post(
            self._sagas, ORCHESTRATOR, internal_calls.SAGAS, body, SagaViews, SAGAS_TIMEOUT_S
        )
        return list(views.sagas)

    async def cancel(self, saga_id: str, user_id: str) -> Cancellation:
        """Ask the orchestrator to cancel a saga for its owner. Raises Problem.

        Only for a checkout in our database: the orchestrator ends a saga that it does not know yet before it
        begins. A second address may be asked too: a saga is cancelled once, and a repeated request gets the
        same answer.
        """
        body = CancelSaga(saga_id, user_id)
        return await self._post(
            self._cancels, ORCHESTRATOR, internal_calls.CANCEL, body, Cancellation, TIMEOUT_S
        )

    async def forward(self, request: Request) -> Response:
        """Forward a request to cart-crud with the caller's token, and return its response. Raises Problem.

        A change that may have arrived is not sent to a second address: it could overtake a newer change.
        """
        headers = {name: request.headers[name] for name in _FORWARDED_HEADERS if name in request.headers}
        query = request.scope["query_string"].decode("latin-1")
        path = request.scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        body = await read_body(request.receive)
        method = "GET" if request.method == "HEAD" else request.method
        kind = _kind(method, request.url.path)
        answer = await self._forwarded[kind].request(method, path, headers, body)
        kept = {name: value for name, value in answer.headers.items() if name in _RETURNED_HEADERS}
        return Response(answer.body, answer.status, kept)

    async def close(self) -> None:
        """Close all connections."""
        forwarded = [forwarding.client for forwarding in self._forwarded.values()]
        for client in (self._snapshots, *forwarded, self._sagas, self._cancels):
            await client.close()

    async def _post(
        self, client: FailoverClient, service: str, path: str, body: object, reply: type[T], timeout_s: float
    ) -> T:
        headers = {"content-type": "application/json", "authorization": self._authorization(service)}
        encoded = msgspec.json.encode(body)
        try:
            answer = await client.request("POST", path, headers, encoded, timeout_s, repeatable=True)
        except ConnectionFailed:
            raise unavailable(_DISPLAY_NAMES[service]) from None
        if answer.status != 200:
            if answer.status < 500:  # wrong keys or a bug: waiting does not help
                log.error("internal_call_refused", service=service, path=path, status=answer.status)
            raise unavailable(_DISPLAY_NAMES[service])
        return msgspec.json.decode(answer.body, type=reply)
