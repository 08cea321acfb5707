"""How many requests a process works on at once; one more is refused before anything is read of it.

A pure ASGI layer. Operations endpoints have a port of their own, so that a full process can still say so.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request

from holdfast.runtime.problems import OVERLOADED, Problem, respond

REQUESTS_MAX = 10_000

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class RequestLimit:
    """Counts requests under way; `requests_max` and no more."""

    def __init__(self, app: App, requests_max: int = REQUESTS_MAX) -> None:
        self._app = app
        self._requests_max = requests_max
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._requests_max:
            refusal = respond(Request(scope, receive), Problem(OVERLOADED, headers={"Retry-After": "2"}))
            await refusal(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1
