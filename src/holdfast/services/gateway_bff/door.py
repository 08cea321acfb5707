"""The way of a group of requests through the door: seen before? breaker? snapshot? then accepted together.

Answers are values, so that one request's refusal is not its neighbour's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, TypeVar

from holdfast.contracts.http_api import Snapshot
from holdfast.contracts.messages import MINOR_MAX
from holdfast.messaging.store import Store, StoreUnavailable
from holdfast.runtime.problems import Problem, unavailable
from holdfast.services.gateway_bff.accepting import Acceptor
from holdfast.services.gateway_bff.domain import Admission, Checkout, NotStarted, Wanted, Why, replayed
from holdfast.services.gateway_bff.store_port import GatewayTransaction

SNAPSHOTS_MAX = 3

T = TypeVar("T")


class NotBuyable(NamedTuple):
    """The cart cannot be bought: missing, empty or mixed_currency."""

    why: str


class Closed(NamedTuple):
    """The bus is out of reach: nothing was recorded."""

    retry_after_s: float


class Unreached(NamedTuple):
    """Something that a new checkout needs does not answer, but a known one is still told."""

    problem: Problem


Answer = Admission | NotBuyable | Closed | Unreached

Snapshots = Callable[[Sequence[tuple[str, str]]], Awaitable[Sequence[Snapshot]]]


class Door:
    """Serves groups; `closed_for_s` tells how long the breaker refuses, 0 where it does not."""

    def __init__(
        self,
        store: Store[GatewayTransaction],
        acceptor: Acceptor,
        snapshots: Snapshots,
        closed_for_s: Callable[[], float],
    ) -> None:
        self._store = store
        self._acceptor = acceptor
        self._snapshots = snapshots
        self._closed_for_s = closed_for_s
        self._thread = ThreadPoolExecutor(1, "accept")

    async def serve(self, group: Sequence[Wanted]) -> list[Answer]:
        """Answer each request. Raises StoreUnavailable, for the whole group."""
        answers: dict[int, Answer] = dict(await self._known(dict(enumerate(group))))
        left = [place for place in range(len(group)) if place not in answers]
        closed_for_s = self._closed_for_s()
        if left and closed_for_s > 0:
            answers |= {place: Closed(closed_for_s) for place in left}
            left = []
        for _ in range(SNAPSHOTS_MAX):
            if not left:
                break
            answers |= await self._admit(group, left)
            left = [place for place in left if answers[place] == NotStarted(Why.SNAPSHOT_IS_OLD)]
        return [answers[place] for place in range(len(group))]

    def close(self) -> None:
        """Wait for the group under way."""
        self._thread.shutdown()

    async def _admit(self, group: Sequence[Wanted], places: Sequence[int]) -> dict[int, Answer]:
        try:
            snapshots = await self._snapshots([(group[p].cart_id, group[p].user_id) for p in places])
        except Problem as problem:
            return {place: Unreached(problem) for place in places}
        answers: dict[int, Answer] = {}
        ready: dict[int, Wanted] = {}
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

    async def _accept(self, ready: dict[int, Wanted]) -> dict[int, Answer]:
        try:
            admitted = await self._run(self._acceptor.accept, list(ready.values()))
        except StoreUnavailable:
            # The commit may have happened although its answer was lost: the keys tell, on a new session.
            answers: dict[int, Answer] = dict.fromkeys(ready, Unreached(unavailable("the database")))
            with suppress(StoreUnavailable):
                answers |= await self._known(ready)
            return answers
        return dict(zip(ready, admitted, strict=True))

    async def _known(self, wanted: Mapping[int, Wanted]) -> dict[int, Answer]:
        """Answer those whose key was used before."""
        found = await self._run(self._find, list(wanted.values()))
        keys = {place: (each.user_id, each.idempotency_key) for place, each in wanted.items()}
        return {place: replayed(wanted[place], found[key]) for place, key in keys.items() if key in found}

    def _find(self, group: Sequence[Wanted]) -> dict[tuple[str, str], Checkout]:
        with self._store.transaction() as tx:
            return tx.find_by_key({(wanted.user_id, wanted.idempotency_key) for wanted in group})

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
