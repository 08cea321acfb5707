"""What the door asks of other services over HTTP: snapshots of carts, sagas under way, and all of cart-crud.

Questions that come at the same time share one call. A service that is down is a Problem, never a bug.
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
    SagasTold,
    SagaView,
    Snapshot,
    Snapshots,
    TakeSnapshots,
    TellSagas,
)
from holdfast.contracts.topics import CART, ORCHESTRATOR
from holdfast.runtime.bodies import read_body
from holdfast.runtime.http_client import ConnectionFailed, HttpClient
from holdfast.runtime.problems import unavailable

TIMEOUT_S = 5.0
TELL_TIMEOUT_S = 2.0
"""How a checkout stands is told from our own row where the orchestrator is slower than this."""
_ASKED = ("authorization", "content-type", "if-match", "traceparent")
_ANSWERED = frozenset({"content-type", "etag", "www-authenticate", "retry-after", "allow"})
_SPOKEN = {CART: "cart-crud", ORCHESTRATOR: "the orchestrator"}

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Neighbours:
    """Clients of cart-crud and of the orchestrator. One event loop only.

    `authorization` makes the header with which the gateway shows itself to the service that it names.
    """

    def __init__(self, cart_url: str, orchestrator_url: str, authorization: Callable[[str], str]) -> None:
        self._cart = HttpClient(cart_url)
        self._orchestrator = HttpClient(orchestrator_url)
        self._clients = {CART: self._cart, ORCHESTRATOR: self._orchestrator}
        self._authorization = authorization

    async def snapshots(self, carts: Sequence[tuple[str, str]]) -> list[Snapshot]:
        """Take snapshots of these (cart id, user id). Raises Problem."""
        asked = TakeSnapshots(tuple(CartOfUser(cart_id, user_id) for cart_id, user_id in carts))
        told = await self._post(CART, internal_calls.SNAPSHOTS, asked, Snapshots, TIMEOUT_S)
        return list(told.carts)

    async def sagas(self, sagas: Sequence[tuple[str, str]]) -> list[SagaView | None]:
        """Ask how these (saga id, user id) stand. Raises Problem."""
        asked = TellSagas(tuple(SagaOfUser(saga_id, user_id) for saga_id, user_id in sagas))
        told = await self._post(ORCHESTRATOR, internal_calls.SAGAS, asked, SagasTold, TELL_TIMEOUT_S)
        return list(told.sagas)

    async def cancel(self, saga_id: str, user_id: str) -> Cancellation:
        """Have the orchestrator cancel a saga for the user whose checkout it is. Raises Problem.

        Only for a checkout that stands in our database: a saga that the orchestrator has not heard of yet
        is ended before it begins.
        """
        asked = CancelSaga(saga_id, user_id)
        return await self._post(ORCHESTRATOR, internal_calls.CANCEL, asked, Cancellation, TIMEOUT_S)

    async def forward(self, request: Request) -> Response:
        """Hand a request on to cart-crud, with the caller's token, and its answer back. Raises Problem."""
        headers = {name: request.headers[name] for name in _ASKED if name in request.headers}
        query = request.scope["query_string"].decode("latin-1")
        path = request.scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        body = await read_body(request.receive)
        method = "GET" if request.method == "HEAD" else request.method
        try:
            answer = await self._cart.request(method, path, headers, body, TIMEOUT_S)
        except ConnectionFailed:
            raise unavailable("cart-crud") from None
        kept = {name: value for name, value in answer.headers.items() if name in _ANSWERED}
        return Response(answer.body, answer.status, kept)

    async def close(self) -> None:
        """Drop all connections."""
        await self._cart.close()
        await self._orchestrator.close()

    async def _post(self, service: str, path: str, asked: object, told: type[T], timeout_s: float) -> T:
        headers = {"content-type": "application/json", "authorization": self._authorization(service)}
        body = msgspec.json.encode(asked)
        try:
            answer = await self._clients[service].request("POST", path, headers, body, timeout_s)
        except ConnectionFailed:
            raise unavailable(_SPOKEN[service]) from None
        if answer.status != 200:
            if answer.status < 500:  # keys that do not fit, or a bug: no waiting mends it
                log.error("internal_call_refused", service=service, path=path, status=answer.status)
            raise unavailable(_SPOKEN[service])
        return msgspec.json.decode(answer.body, type=told)
