"""Sends requests to one service's HTTP API, again and again until an answer is definitive or time is up.

The caller chooses the request and interprets the answer; the request must be safe to repeat.
"""

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any

import msgspec

from holdfast.messaging.backoff import backoff_ms
from holdfast.runtime.http_client import ConnectionFailed, HttpClient, Response

RETRY_BASE_MS = 50
RETRY_CAP_MS = 2_000
_NOT_DEFINITIVE = frozenset({429, 500, 502, 503, 504})


class RequestRefused(Exception):
    """A definitive answer that refuses the request; `reason` is the problem's code."""

    def __init__(self, what: str, response: Response) -> None:
        try:
            problem = response.json()
        except ValueError:
            problem = None
        fields: dict[str, Any] = problem if isinstance(problem, dict) else {}
        self.status = response.status
        self.reason = str(fields.get("code", f"http_{response.status}"))
        detail = fields.get("detail") or fields.get("title") or ""
        for error in fields.get("errors") or ():
            detail = f"{detail} ({error.get('pointer')}: {error.get('detail')})"
            break
        super().__init__(f"{what} answered {response.status} {self.reason} {detail}".rstrip())


class OutOfPatience(Exception):
    """No definitive answer came in time: the outcome is unknown."""


class ApiClient:
    """One service. `retries` counts requests that had to be repeated, for any reason."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        self._http = HttpClient(url)
        self._timeout_s = timeout_s
        self.retries = 0

    async def ask(
        self,
        method: str,
        path: str,
        token: str,
        until: float,
        *,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        held_s: float = 0.0,
    ) -> Response:
        """Return the first definitive answer, whatever its status. Raises OutOfPatience.

        `until` is a time of the monotonic clock; `held_s`: how long the service may hold its answer back.
        """
        fields = {"authorization": f"Bearer {token}", **(headers or {})}
        content = b""
        if body is not None:
            content = msgspec.json.encode(body)
            fields["content-type"] = "application/json"
        attempt = 0
        while True:
            attempt += 1
            wait_s = backoff_ms(attempt, RETRY_BASE_MS, RETRY_CAP_MS, path) / 1000
            try:
                response = await self._http.request(method, path, fields, content, self._timeout_s + held_s)
            except ConnectionFailed as error:
                failure = str(error)
            else:
                if response.status not in _NOT_DEFINITIVE:
                    return response
                failure = f"status {response.status}"
                wait_s = max(wait_s, _retry_after_s(response))
            if monotonic() + wait_s > until:
                raise OutOfPatience(f"{method} {path}: {failure}, tried {attempt} times")
            self.retries += 1
            await asyncio.sleep(wait_s)

    async def close(self) -> None:
        """Drop all connections."""
        await self._http.close()


def _retry_after_s(response: Response) -> float:
    """Return the wait that the answer asks for, in seconds; 0 if there is none or it is a date."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0
