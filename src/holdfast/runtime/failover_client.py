"""Requests to a service with several addresses: an address that does not answer is skipped for a while.

The caller says which requests may be repeated: a request that was perhaps received may have had its effect.
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
"""After so many failures in a row, an address gets one request at a time, even if there is no other."""


class _Address:
    """One address, and its recent failures."""

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
        """Tell whether a request may use it: its last call succeeded, or it has rested and no probe runs."""
        return self.failures == 0 or (now_s >= self.rests_until_s and not self.probed)


class FailoverClient:
    """Sends requests to the first of the given addresses that answers. One event loop only.

    An address that gave no answer rests: 2 s, then longer, up to 30 s; then one request probes it. While all
    rest, those that failed less than five times in a row are used nevertheless; if there is none, a request
    fails at once. Each object has its own connections, so that one kind of calls takes none from another.
    """

    def __init__(
        self,
        urls: Sequence[str],
        connections_max: int = CONNECTIONS_MAX,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect only at the first request. Raises BadAddress."""
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
        """Return the first complete response; `timeout_s` bounds all attempts. Raises ConnectionFailed.

        A request that is not `repeatable` goes to the next address only if it was not sent.
        """
        deadline = self._monotonic() + timeout_s
        chosen = self._choose()
        failure: ConnectionFailed | None = None
        for index, address in enumerate(chosen):
            left_s = deadline - self._monotonic()
            share_s = left_s / (len(chosen) - index) if repeatable else left_s
            address.probed = address.failures > 0
            try:
                response = await address.client.request(method, path, headers, body, max(share_s, 0.0))
            except ConnectionFailed as error:
                failure = error
                address.failed(self._monotonic())
                if not repeatable and not isinstance(error, RequestNotSent):
                    break
            else:
                address.answered()
                return response
            finally:
                address.probed = False
        raise failure or ConnectionFailed("no address has answered lately")

    async def close(self) -> None:
        """Drop all connections."""
        for address in self._addresses:
            await address.client.close()

    def _choose(self) -> list[_Address]:
        """Return the addresses to try, in order."""
        now_s = self._monotonic()
        free = [address for address in self._addresses if address.is_free(now_s)]
        if free:
            return free
        resting = [address for address in self._addresses if address.failures < FAILURES_MAX]
        return sorted(resting, key=lambda address: address.rests_until_s)
