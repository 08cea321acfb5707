"""Decides on groups of checkouts: known key, open breaker, too much load, cart snapshot, then start together.

Results are returned, not raised, so that the refusal of one request does not fail the others of its group.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

from holdfast.contracts.http_api import Snapshot
from holdfast.contracts.messages import MINOR_MAX
from holdfast.messaging.store import RowsUnavailable, Store, StoreUnavailable
from holdfast.runtime.problems import Problem, unavailable
from holdfast.services.gateway_bff.checkout_starter import CheckoutStarter
from holdfast.services.gateway_bff.domain import (
    Accepted,
    Checkout,
    CheckoutRequest,
    Rejected,
    RejectionReason,
    StartResult,
    replayed,
)
from holdfast.services.gateway_bff.load_shedding import LoadShedding
from holdfast.services.gateway_bff.store_port import GatewayTransaction

SNAPSHOTS_MAX = 3
SEARCHES_MAX = 8

T = TypeVar("T")


class NotBuyable(NamedTuple):
    """The cart cannot be bought: missing, empty or mixed_currency."""

    why: str


class BusClosed(NamedTuple):
    """The breaker around publishing is open: nothing was recorded."""

    retry_after_s: float


class LoadShed(NamedTuple):
    """The gateway has too much load: nothing was recorded."""

    reason: str


class UpstreamFailed(NamedTuple):
    """Something that a new checkout needs does not answer; requests with a known key are still answered."""

    problem: Problem


CheckoutResult = StartResult | NotBuyable | BusClosed | LoadShed | UpstreamFailed


class QueuedRequest(NamedTuple):
    """A waiting request, and since when it waits, by the monotonic clock."""

    request: CheckoutRequest
    since_s: float


class AdmissionBreaker(Protocol):
    """The breaker around publishing, as the admission needs it (see `messaging.breaker`)."""

    def retry_after_s(self) -> float:
        """Return 0 if checkouts may start, else the time until one may."""

    def reserve_probe(self) -> bool:
        """Reserve the breaker's probe for one checkout; return False if none may start now."""

    def release_probe(self) -> None:
        """Undo `reserve_probe`, because no checkout was started."""


Snapshots = Callable[[Sequence[tuple[str, str]]], Awaitable[Sequence[Snapshot]]]


class CheckoutAdmission:
    """Serves groups of requests. It only reads from `store`, so that look-ups do not wait for the writer."""

    def __init__(
        self,
        store: Store[GatewayTransaction],
        starter: CheckoutStarter,
        snapshots: Snapshots,
        breaker: AdmissionBreaker,
        shedding: LoadShedding,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._starter = starter
        self._snapshots = snapshots
        self._breaker = breaker
        self._shedding = shedding
        self._monotonic = monotonic
        self._thread = ThreadPoolExecutor(1, "accept")

    async def serve(self, queued: Sequence[QueuedRequest]) -> list[CheckoutResult]:
        """Return each request's result, in order. Raises StoreUnavailable, for the whole group."""
        group = [each.request for each in queued]
        results: dict[int, CheckoutResult] = dict(await self._known(dict(enumerate(group))))
        left = [index for index in range(len(group)) if index not in results]
        # Before load: a bus that is down also fills the outbox, and the caller must be told the cause.
        if left and (retry_after_s := self._breaker.retry_after_s()) > 0:
            results |= await self._probe(queued, left, retry_after_s)
        else:
            results |= self._shed({index: queued[index] for index in left})
            results |= await self._start(group, [index for index in left if index not in results])
        return [results[index] for index in range(len(group))]

    def _shed(self, queued: Mapping[int, QueuedRequest]) -> dict[int, CheckoutResult]:
        now = self._monotonic()
        reasons = {index: self._shedding.reason(now - each.since_s) for index, each in queued.items()}
        return {index: LoadShed(reason) for index, reason in reasons.items() if reason}

    async def _probe(
        self, queued: Sequence[QueuedRequest], left: Sequence[int], retry_after_s: float
    ) -> dict[int, CheckoutResult]:
        """Refuse all; if the breaker allows a probe, start one: its message will be the probe."""
        results: dict[int, CheckoutResult] = {index: BusClosed(retry_after_s) for index in left}
        if not self._breaker.reserve_probe():
            return results
        for index in left:
            if self._shed({index: queued[index]}):
                continue
            results |= await self._start([each.request for each in queued], [index])
            if isinstance(results[index], Accepted):
                return results
        self._breaker.release_probe()
        return results

    async def _start(
        self, group: Sequence[CheckoutRequest], indexes: Sequence[int]
    ) -> dict[int, CheckoutResult]:
        results: dict[int, CheckoutResult] = {}
        left = list(indexes)
        for _ in range(SNAPSHOTS_MAX):
            if not left:
                break
            results |= await self._admit(group, left)
            left = [index for index in left if results[index] == Rejected(RejectionReason.SNAPSHOT_IS_OLD)]
        self._shedding.accepted(sum(isinstance(result, Accepted) for result in results.values()))
        return results

    def close(self) -> None:
        """Wait for the work under way, then stop the thread."""
        self._thread.shutdown()

    async def _admit(
        self, group: Sequence[CheckoutRequest], indexes: Sequence[int]
    ) -> dict[int, CheckoutResult]:
        try:
            snapshots = await self._snapshots([(group[i].cart_id, group[i].user_id) for i in indexes])
        except Problem as problem:
            return {index: UpstreamFailed(problem) for index in indexes}
        results: dict[int, CheckoutResult] = {}
        ready: dict[int, CheckoutRequest] = {}
        for index, snapshot in zip(indexes, snapshots, strict=True):
            if snapshot.refused:
                results[index] = NotBuyable(snapshot.refused)
            elif not 0 < snapshot.total_minor <= MINOR_MAX:
                results[index] = NotBuyable("total_out_of_range")
            else:
                ready[index] = group[index]._replace(snapshot=snapshot)
        if ready:
            results |= await self._accept(ready)
        return results

    async def _accept(self, ready: dict[int, CheckoutRequest]) -> dict[int, CheckoutResult]:
        """Start these together; if another transaction locks a row that one of them needs, by halves.

        So a key or a cart that another gateway holds in an open transaction delays no other checkout.
        """
        results: dict[int, CheckoutResult] = {}
        waiting, searches = [ready], 0
        while waiting:
            part = waiting.pop()
            try:
                results |= await self._accept_part(part)
            except RowsUnavailable:
                searches += 1
                indexes = list(part)
                if len(indexes) == 1 or searches > SEARCHES_MAX:
                    results |= dict.fromkeys(indexes, UpstreamFailed(unavailable("the database")))
                    continue
                middle = len(indexes) // 2
                waiting += [
                    {index: part[index] for index in half} for half in (indexes[middle:], indexes[:middle])
                ]
        return results

    async def _accept_part(self, ready: dict[int, CheckoutRequest]) -> dict[int, CheckoutResult]:
        try:
            started = await self._run(self._starter.accept, list(ready.values()))
        except RowsUnavailable:
            raise
        except StoreUnavailable:
            # The commit may have succeeded although its answer was lost: look the keys up on a new session.
            results: dict[int, CheckoutResult] = dict.fromkeys(
                ready, UpstreamFailed(unavailable("the database"))
            )
            with suppress(StoreUnavailable):
                results |= await self._known(ready)
            return results
        return dict(zip(ready, started, strict=True))

    async def _known(self, requests: Mapping[int, CheckoutRequest]) -> dict[int, CheckoutResult]:
        """Return the results of the requests whose key was used before."""
        found = await self._run(self._find, list(requests.values()))
        keys = {index: (each.user_id, each.idempotency_key) for index, each in requests.items()}
        return {index: replayed(requests[index], found[key]) for index, key in keys.items() if key in found}

    def _find(self, group: Sequence[CheckoutRequest]) -> dict[tuple[str, str], Checkout]:
        with self._store.transaction() as tx:
            return tx.find_by_key({(request.user_id, request.idempotency_key) for request in group})

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
