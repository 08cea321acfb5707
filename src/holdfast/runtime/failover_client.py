"""Requests to a service that has several addresses: one that does not answer is passed over for a while.

Which requests may be repeated is the caller's to say: one that was perhaps received may have had its effect.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from holdfast.messaging.backoff import backoff_ms
from holdfast.runtime.http_client import (
    CONNECTIONS_MAX,
    ConnectionFailed,
    HttpClient,
    RequestNotSent,
    Response,
)

REST_BASE_MS = 2_000
REST_CAP_MS = 30_000
FAILURES_MAX = 5
"""After so many in a row an address is asked by one request at a time, even if there is no other."""


class _Address:
    """One address and how it has answered lately."""

    def __init__(self, url: str, connections_max: int) -> None:
        self.url = url
        self.client = HttpClient(url, connections_max)
        self.failures = 0
        self.rests_until_s = 0.0
        self.probed = False

    def answered(self) -> None:
        self.failures = 0

    def failed(self, now_s: float) -> None:
        self.failures += 1
        self.rests_until_s = now_s + backoff_ms(self.failures, REST_BASE_MS, REST_CAP_MS, self.url) / 1000

    def is_free(self, now_s: float) -> bool:
        """Tell whether it may be asked: it answers, or has rested and nobody is just finding out."""
        return self.failures == 0 or (now_s >= self.rests_until_s and not self.probed)


class FailoverClient:
    """Asks the first address of those given that answers, and keeps to it. One event loop only.

    One that gave no answer rests: 2 s, then longer, up to 30 s; then one request tries it. While all rest,
    those that failed less than five times in a row are asked nevertheless; if there is none, a request fails
    at once. Each object has connections of its own, so that one kind of calls takes none from another.
    """

    def __init__(
        self,
        urls: Sequence[str],
        connections_max: int = CONNECTIONS_MAX,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects at the first request. Raises BadAddress."""
        self._addresses = [_Address(url, connections_max) for url in urls]
        self._monotonic = monotonic

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
        *,
        repeatable: bool,
    ) -> Response:
        """Return the first whole answer; `timeout_s` is for all attempts together. Raises ConnectionFailed.

        A request that is not `repeatable` goes to the next address only if it has not left.
        """
        deadline = self._monotonic() + timeout_s
        chosen = self._choose()
        failure: ConnectionFailed | None = None
        for position, address in enumerate(chosen):
            left_s = deadline - self._monotonic()
            share_s = left_s / (len(chosen) - position) if repeatable else left_s
            address.probed = address.failures > 0
            try:
                answer = await address.client.request(method, path, headers, body, max(share_s, 0.0))
            except ConnectionFailed as error:
                failure = error
                address.failed(self._monotonic())
                if not repeatable and not isinstance(error, RequestNotSent):
                    break
            else:
                address.answered()
                return answer
            finally:
                address.probed = False
        raise failure or ConnectionFailed("no address has answered lately")

    async def close(self) -> None:
        """Drop all connections."""
        for address in self._addresses:
            await address.client.close()

    def _choose(self) -> list[_Address]:
        """Return whom to ask, in order."""
        now_s = self._monotonic()
        free = [address for address in self._addresses if address.is_free(now_s)]
        if free:
            return free
        resting = [address for address in self._addresses if address.failures < FAILURES_MAX]
        return sorted(resting, key=lambda address: address.rests_until_s)
