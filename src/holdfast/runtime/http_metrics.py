"""Measures how long requests take, by route, method and status. Pure ASGI, so that it cancels no request."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Histogram

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
UNMATCHED = "unmatched"
ROUTE = "holdfast.route"
"""The key of the ASGI scope under which `openapi` puts the template of the route that matched."""


def request_seconds(registry: CollectorRegistry) -> Histogram:
    """Make the histogram; all listeners of a process share it."""
    return Histogram(
        "http_server_request_duration_seconds",
        "Time from the request to the end of its answer.",
        ("route", "method", "status"),
        buckets=BUCKETS,
        registry=registry,
    )


class HttpMetrics:
    """Observes every request; its label `route` is the route's template, never the path of the request."""

    def __init__(self, app: App, seconds: Histogram) -> None:
        self._app = app
        self._seconds = seconds
        self._series: dict[tuple[str, str, int], Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            self._observe(scope, status, time.perf_counter() - begun)

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        route: str = scope.get(ROUTE) or getattr(scope.get("route"), "path", None) or UNMATCHED
        method: str = scope["method"] if scope["method"] in METHODS else "OTHER"
        key = (route, method, status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._seconds.labels(route, method, str(status))
        series.observe(seconds)
