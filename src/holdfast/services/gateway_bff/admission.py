"""The way of a group through the admission: seen before? breaker? too much? snapshot? then accepted together.

Answers are values, so that one request's refusal is not its neighbour's.
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
    """The bus is out of reach: nothing was recorded."""

    retry_after_s: float


class LoadShed(NamedTuple):
    """There is more to do than gets done; nothing was recorded."""

    reason: str


class UpstreamFailed(NamedTuple):
    """Something that a new checkout needs does not answer, but a known one is still told."""

    problem: Problem


CheckoutResult = StartResult | NotBuyable | BusClosed | LoadShed | UpstreamFailed


class QueuedRequest(NamedTuple):
    """A request in line, and since when by the monotonic clock."""

    wanted: CheckoutRequest
    since_s: float


class AdmissionBreaker(Protocol):
    """The breaker around publishing, as the admission needs it (see `messaging.breaker`)."""

    def retry_after_s(self) -> float:
        """Return 0 where checkouts pass, else how long until one may."""

    def reserve_probe(self) -> bool:
        """Let one checkout pass as the probe."""

    def release_probe(self) -> None:
        """Undo `reserve_probe`: nothing was started."""


Snapshots = Callable[[Sequence[tuple[str, str]]], Awaitable[Sequence[Snapshot]]]


class CheckoutAdmission:
    """Serves groups. `store` is only read, so that look-ups don't wait for those who write."""

    def __init__(
        self,
        store: Store[GatewayTransaction],
        acceptor: CheckoutStarter,
        snapshots: Snapshots,
        gate: AdmissionBreaker,
        shedding: LoadShedding,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._acceptor = acceptor
        self._snapshots = snapshots
        self._gate = gate
        self._shedding = shedding
        self._monotonic = monotonic
        self._thread = ThreadPoolExecutor(1, "accept")

    async def serve(self, line: Sequence[QueuedRequest]) -> list[CheckoutResult]:
        """Answer each request. Raises StoreUnavailable, for the whole group."""
        group = [asked.wanted for asked in line]
        answers: dict[int, CheckoutResult] = dict(await self._known(dict(enumerate(group))))
        left = [place for place in range(len(group)) if place not in answers]
        # First, because a bus that is away fills the outbox, and that is not the cause to be told.
        if left and (retry_after_s := self._gate.retry_after_s()) > 0:
            answers |= await self._probe(line, left, retry_after_s)
        else:
            answers |= self._shed({place: line[place] for place in left})
            answers |= await self._start(group, [place for place in left if place not in answers])
        return [answers[place] for place in range(len(group))]

    def _shed(self, asked: Mapping[int, QueuedRequest]) -> dict[int, CheckoutResult]:
        now = self._monotonic()
        reasons = {place: self._shedding.reason(now - each.since_s) for place, each in asked.items()}
        return {place: LoadShed(reason) for place, reason in reasons.items() if reason}

    async def _probe(
        self, line: Sequence[QueuedRequest], left: Sequence[int], for_s: float
    ) -> dict[int, CheckoutResult]:
        """Turn all away, but for one where the bus may be back: its message will be the breaker's probe."""
        answers: dict[int, CheckoutResult] = {place: BusClosed(for_s) for place in left}
        if not self._gate.reserve_probe():
            return answers
        for place in left:
            if self._shed({place: line[place]}):
                continue
            answers |= await self._start([each.wanted for each in line], [place])
            if isinstance(answers[place], Accepted):
                return answers
        self._gate.release_probe()
        return answers

    async def _start(
        self, group: Sequence[CheckoutRequest], places: Sequence[int]
    ) -> dict[int, CheckoutResult]:
        answers: dict[int, CheckoutResult] = {}
        left = list(places)
        for _ in range(SNAPSHOTS_MAX):
            if not left:
                break
            answers |= await self._admit(group, left)
            left = [place for place in left if answers[place] == Rejected(RejectionReason.SNAPSHOT_IS_OLD)]
        self._shedding.accepted(sum(isinstance(answer, Accepted) for answer in answers.values()))
        return answers

    def close(self) -> None:
        """Wait for the group under way."""
        self._thread.shutdown()

    async def _admit(
        self, group: Sequence[CheckoutRequest], places: Sequence[int]
    ) -> dict[int, CheckoutResult]:
        try:
            snapshots = await self._snapshots([(group[p].cart_id, group[p].user_id) for p in places])
        except Problem as problem:
            return {place: UpstreamFailed(problem) for place in places}
        answers: dict[int, CheckoutResult] = {}
        ready: dict[int, CheckoutRequest] = {}
        for place, snapshot in zip(places, snapshots, strict=True):
            if snapshot.refused:
                answers[place] = NotBuyable(snapshot.refused)
            elif not 0 < snapshot.total_minor <= MINOR_MAX:
                answers[place] = NotBuyable("total_out_of_range")
            else:
                ready[place] = group[place]._replace(snapshot=snapshot)
        if ready:
            answers |= await self._accept(ready)
        return answers

    async def _accept(self, ready: dict[int, CheckoutRequest]) -> dict[int, CheckoutResult]:
        """Accept these together, or where a row is held that one of them needs, by halves.

        So a key or cart that another gateway has in an open transaction holds up no other checkout.
        """
        answers: dict[int, CheckoutResult] = {}
        todo, searches = [ready], 0
        while todo:
            part = todo.pop()
            try:
                answers |= await self._accept_part(part)
            except RowsUnavailable:
                searches += 1
                places = list(part)
                if len(places) == 1 or searches > SEARCHES_MAX:
                    answers |= dict.fromkeys(places, UpstreamFailed(unavailable("the database")))
                    continue
                middle = len(places) // 2
                todo += [
                    {place: part[place] for place in half} for half in (places[middle:], places[:middle])
                ]
        return answers

    async def _accept_part(self, ready: dict[int, CheckoutRequest]) -> dict[int, CheckoutResult]:
        try:
            admitted = await self._run(self._acceptor.accept, list(ready.values()))
        except RowsUnavailable:
            raise
        except StoreUnavailable:
            # The commit may have happened although its answer was lost: the keys tell, on a new session.
            answers: dict[int, CheckoutResult] = dict.fromkeys(
                ready, UpstreamFailed(unavailable("the database"))
            )
            with suppress(StoreUnavailable):
                answers |= await self._known(ready)
            return answers
        return dict(zip(ready, admitted, strict=True))

    async def _known(self, wanted: Mapping[int, CheckoutRequest]) -> dict[int, CheckoutResult]:
        """Answer those whose key was used before."""
        found = await self._run(self._find, list(wanted.values()))
        keys = {place: (each.user_id, each.idempotency_key) for place, each in wanted.items()}
        return {place: replayed(wanted[place], found[key]) for place, key in keys.items() if key in found}

    def _find(self, group: Sequence[CheckoutRequest]) -> dict[tuple[str, str], Checkout]:
        with self._store.transaction() as tx:
            return tx.find_by_key({(wanted.user_id, wanted.idempotency_key) for wanted in group})

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
