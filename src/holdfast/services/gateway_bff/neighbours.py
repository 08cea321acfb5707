"""What the door asks of other services over HTTP: snapshots of carts, sagas under way, and all of cart-crud.

Questions that come at the same time share one call. A service that is down is a Problem, never a bug.
"""

from collections.abc import Sequence
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from holdfast.contracts.http_api import (
    Cancellation,
    CancelSaga,
    CartOfUser,
    SagasTold,
    SagaView,
    Snapshot,
    Snapshots,
    TakeSnapshots,
    TellSagas,
)
from holdfast.runtime.bodies import read_body
from holdfast.runtime.http_client import ConnectionFailed, HttpClient
from holdfast.runtime.problems import unavailable

TIMEOUT_S = 5.0
TELL_TIMEOUT_S = 2.0
"""How a checkout stands is told from our own row where the orchestrator is slower than this."""
_ASKED = ("authorization", "content-type", "if-match", "traceparent")
_ANSWERED = frozenset({"content-type", "etag", "www-authenticate", "retry-after", "allow"})
_JSON = {"content-type": "application/json"}

T = TypeVar("T")


class Neighbours:
    """Clients of cart-crud and of the orchestrator. One event loop only."""

    def __init__(self, cart_url: str, orchestrator_url: str) -> None:
        self._cart = HttpClient(cart_url)
        self._orchestrator = HttpClient(orchestrator_url)

    async def snapshots(self, carts: Sequence[tuple[str, str]]) -> list[Snapshot]:
        """Take snapshots of these (cart id, user id). Raises Problem."""
        asked = TakeSnapshots(tuple(CartOfUser(cart_id, user_id) for cart_id, user_id in carts))
        told = await self._post(
            self._cart, "/internal/v1/snapshots", asked, Snapshots, "cart-crud", TIMEOUT_S
        )
        return list(told.carts)

    async def sagas(self, saga_ids: Sequence[str]) -> list[SagaView | None]:
        """Ask how these sagas stand. Raises Problem."""
        asked = TellSagas(tuple(saga_ids))
        told = await self._post(
            self._orchestrator, "/internal/v1/sagas", asked, SagasTold, "the orchestrator", TELL_TIMEOUT_S
        )
        return list(told.sagas)

    async def cancel(self, saga_id: str, authorization: str) -> Cancellation:
        """Have the orchestrator cancel a saga for the shopper whose token this is. Raises Problem."""
        return await self._post(
            self._orchestrator,
            "/internal/v1/sagas/cancel",
            CancelSaga(saga_id),
            Cancellation,
            "the orchestrator",
            TIMEOUT_S,
            authorization,
        )

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

    async def _post(
        self,
        client: HttpClient,
        path: str,
        asked: object,
        told: type[T],
        who: str,
        timeout_s: float,
        authorization: str = "",
    ) -> T:
        headers = _JSON | ({"authorization": authorization} if authorization else {})
        try:
            answer = await client.request("POST", path, headers, msgspec.json.encode(asked), timeout_s)
        except ConnectionFailed:
            raise unavailable(who) from None
        if answer.status != 200:
            raise unavailable(who)
        return msgspec.json.decode(answer.body, type=told)
