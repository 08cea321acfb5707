"""Limits how many requests a process handles at once; one more is refused before its body is read.

Pure ASGI. Operations endpoints have a separate port and no such limit, so that a full process can report it.
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
    """Refuses a request with 503 if `requests_max` are being handled."""

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
