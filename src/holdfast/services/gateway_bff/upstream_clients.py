"""What the gateway asks of other services over HTTP: snapshots of carts, sagas under way, all of cart-crud.

Questions that come at the same time share one call. A service that is down is a Problem, never a bug. Each
kind of call has connections, a bound and a memory of failures of its own: a slow kind holds up no other.
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
from holdfast.runtime.http_client import Response as Answered
from holdfast.runtime.problems import OVERLOADED, Problem, unavailable

TIMEOUT_S = 5.0
TELL_TIMEOUT_S = 2.0
"""How a checkout stands is told from our own row where the orchestrator is slower than this."""
QUESTIONS_MAX = 16
"""Connections for calls that answer many callers at once; few are under way side by side."""
CANCELS_MAX = 64
FORWARDED_MAX = 256
"""So many product look-ups, reads and changes of carts each are under way; one more is turned away."""
_ASKED = ("authorization", "content-type", "if-match", "traceparent")
_ANSWERED = frozenset({"content-type", "etag", "www-authenticate", "retry-after", "allow"})
_SPOKEN = {CART: "cart-crud", ORCHESTRATOR: "the orchestrator"}

log = structlog.get_logger(__name__)

T = TypeVar("T")


_KINDS = ("products", "reads", "changes")


def _kind(method: str, path: str) -> str:
    """Return which of the kinds of forwarded requests this is."""
    if method != "GET":
        return "changes"
    return "products" if path.startswith("/v1/products") else "reads"


class _Forwarding:
    """One kind of forwarded requests, and how many of it are under way."""

    def __init__(self, client: FailoverClient) -> None:
        self.client = client
        self._under_way = 0

    async def request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answered:
        """Hand one on. Raises Problem, at once if too many are under way."""
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

    `cart_url` and `orchestrator_url` are one address or several, with commas between; the first that answers
    is asked. `authorization` makes the header with which the gateway shows itself to the service named.
    """

    def __init__(self, cart_url: str, orchestrator_url: str, authorization: Callable[[str], str]) -> None:
        carts, orchestrators = cart_url.split(","), orchestrator_url.split(",")
        self._snapshots = FailoverClient(carts, QUESTIONS_MAX)
        self._forwarded = {kind: _Forwarding(FailoverClient(carts, FORWARDED_MAX)) for kind in _KINDS}
        self._sagas = FailoverClient(orchestrators, QUESTIONS_MAX)
        self._cancels = FailoverClient(orchestrators, CANCELS_MAX)
        self._authorization = authorization

    async def snapshots(self, carts: Sequence[tuple[str, str]]) -> list[Snapshot]:
        """Take snapshots of these (cart id, user id). Raises Problem."""
        asked = SnapshotsRequest(tuple(CartOfUser(cart_id, user_id) for cart_id, user_id in carts))
        told = await self._post(self._snapshots, CART, internal_calls.SNAPSHOTS, asked, Snapshots, TIMEOUT_S)
        return list(told.carts)

    async def sagas(self, sagas: Sequence[tuple[str, str]]) -> list[SagaView | None]:
        """Ask how these (saga id, user id) stand. Raises Problem."""
        asked = SagaViewsRequest(tuple(SagaOfUser(saga_id, user_id) for saga_id, user_id in sagas))
        told = await self._post(
            self._sagas, ORCHESTRATOR, internal_calls.SAGAS, asked, SagaViews, TELL_TIMEOUT_S
        )
        return list(told.sagas)

    async def cancel(self, saga_id: str, user_id: str) -> Cancellation:
        """Have the orchestrator cancel a saga for the user whose checkout it is. Raises Problem.

        Only for a checkout that stands in our database: a saga that the orchestrator has not heard of yet
        is ended before it begins. Asked of a second address, too: a saga is cancelled once, and says so to
        whoever asks again.
        """
        asked = CancelSaga(saga_id, user_id)
        return await self._post(
            self._cancels, ORCHESTRATOR, internal_calls.CANCEL, asked, Cancellation, TIMEOUT_S
        )

    async def forward(self, request: Request) -> Response:
        """Hand a request on to cart-crud, with the caller's token, and its answer back. Raises Problem.

        A change that may have arrived is not sent to a second address: it could overtake a newer one.
        """
        headers = {name: request.headers[name] for name in _ASKED if name in request.headers}
        query = request.scope["query_string"].decode("latin-1")
        path = request.scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        body = await read_body(request.receive)
        method = "GET" if request.method == "HEAD" else request.method
        kind = _kind(method, request.url.path)
        answer = await self._forwarded[kind].request(method, path, headers, body)
        kept = {name: value for name, value in answer.headers.items() if name in _ANSWERED}
        return Response(answer.body, answer.status, kept)

    async def close(self) -> None:
        """Drop all connections."""
        forwarded = [forwarding.client for forwarding in self._forwarded.values()]
        for client in (self._snapshots, *forwarded, self._sagas, self._cancels):
            await client.close()

    async def _post(
        self, client: FailoverClient, service: str, path: str, asked: object, told: type[T], timeout_s: float
    ) -> T:
        headers = {"content-type": "application/json", "authorization": self._authorization(service)}
        body = msgspec.json.encode(asked)
        try:
            answer = await client.request("POST", path, headers, body, timeout_s, repeatable=True)
        except ConnectionFailed:
            raise unavailable(_SPOKEN[service]) from None
        if answer.status != 200:
            if answer.status < 500:  # keys that do not fit, or a bug: no waiting mends it
                log.error("internal_call_refused", service=service, path=path, status=answer.status)
            raise unavailable(_SPOKEN[service])
        return msgspec.json.decode(answer.body, type=told)
