"""The way of a group through the door: seen before? breaker? too much? snapshot? then accepted together.

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
from holdfast.services.gateway_bff.accepting import Acceptor
from holdfast.services.gateway_bff.domain import (
    Admission,
    Checkout,
    NotStarted,
    Started,
    Wanted,
    Why,
    replayed,
)
from holdfast.services.gateway_bff.shedding import Shedding
from holdfast.services.gateway_bff.store_port import GatewayTransaction

SNAPSHOTS_MAX = 3
SEARCHES_MAX = 8

T = TypeVar("T")


class NotBuyable(NamedTuple):
    """The cart cannot be bought: missing, empty or mixed_currency."""

    why: str


class Closed(NamedTuple):
    """The bus is out of reach: nothing was recorded."""

    retry_after_s: float


class Shed(NamedTuple):
    """There is more to do than gets done; nothing was recorded."""

    reason: str


class Unreached(NamedTuple):
    """Something that a new checkout needs does not answer, but a known one is still told."""

    problem: Problem


Answer = Admission | NotBuyable | Closed | Shed | Unreached


class Asked(NamedTuple):
    """A request in line, and since when by the monotonic clock."""

    wanted: Wanted
    since_s: float


class Gate(Protocol):
    """The breaker around publishing, as the door needs it (see `messaging.breaker`)."""

    def closed_for_s(self) -> float:
        """Return 0 where checkouts pass, else how long until one may."""

    def take_ticket(self) -> bool:
        """Let one checkout pass as the probe."""

    def give_ticket_back(self) -> None:
        """Undo `take_ticket`: nothing was started."""


Snapshots = Callable[[Sequence[tuple[str, str]]], Awaitable[Sequence[Snapshot]]]


class Door:
    """Serves groups. `store` is only read, so that look-ups don't wait for those who write."""

    def __init__(
        self,
        store: Store[GatewayTransaction],
        acceptor: Acceptor,
        snapshots: Snapshots,
        gate: Gate,
        shedding: Shedding,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._acceptor = acceptor
        self._snapshots = snapshots
        self._gate = gate
        self._shedding = shedding
        self._monotonic = monotonic
        self._thread = ThreadPoolExecutor(1, "accept")

    async def serve(self, line: Sequence[Asked]) -> list[Answer]:
        """Answer each request. Raises StoreUnavailable, for the whole group."""
        group = [asked.wanted for asked in line]
        answers: dict[int, Answer] = dict(await self._known(dict(enumerate(group))))
        left = [place for place in range(len(group)) if place not in answers]
        # First, because a bus that is away fills the outbox, and that is not the cause to be told.
        if left and (closed_for_s := self._gate.closed_for_s()) > 0:
            answers |= await self._probe(line, left, closed_for_s)
        else:
            answers |= self._shed({place: line[place] for place in left})
            answers |= await self._start(group, [place for place in left if place not in answers])
        return [answers[place] for place in range(len(group))]

    def _shed(self, asked: Mapping[int, Asked]) -> dict[int, Answer]:
        now = self._monotonic()
        reasons = {place: self._shedding.reason(now - each.since_s) for place, each in asked.items()}
        return {place: Shed(reason) for place, reason in reasons.items() if reason}

    async def _probe(self, line: Sequence[Asked], left: Sequence[int], for_s: float) -> dict[int, Answer]:
        """Turn all away, but for one where the bus may be back: its message will be the breaker's probe."""
        answers: dict[int, Answer] = {place: Closed(for_s) for place in left}
        if not self._gate.take_ticket():
            return answers
        for place in left:
            if self._shed({place: line[place]}):
                continue
            answers |= await self._start([each.wanted for each in line], [place])
            if isinstance(answers[place], Started):
                return answers
        self._gate.give_ticket_back()
        return answers

    async def _start(self, group: Sequence[Wanted], places: Sequence[int]) -> dict[int, Answer]:
        answers: dict[int, Answer] = {}
        left = list(places)
        for _ in range(SNAPSHOTS_MAX):
            if not left:
                break
            answers |= await self._admit(group, left)
            left = [place for place in left if answers[place] == NotStarted(Why.SNAPSHOT_IS_OLD)]
        self._shedding.accepted(sum(isinstance(answer, Started) for answer in answers.values()))
        return answers

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
        """Accept these together, or where a row is held that one of them needs, by halves.

        So a key or cart that another gateway has in an open transaction holds up no other checkout.
        """
        answers: dict[int, Answer] = {}
        todo, searches = [ready], 0
        while todo:
            part = todo.pop()
            try:
                answers |= await self._accept_part(part)
            except RowsUnavailable:
                searches += 1
                places = list(part)
                if len(places) == 1 or searches > SEARCHES_MAX:
                    answers |= dict.fromkeys(places, Unreached(unavailable("the database")))
                    continue
                middle = len(places) // 2
                todo += [
                    {place: part[place] for place in half} for half in (places[middle:], places[:middle])
                ]
        return answers

    async def _accept_part(self, ready: dict[int, Wanted]) -> dict[int, Answer]:
        try:
            admitted = await self._run(self._acceptor.accept, list(ready.values()))
        except RowsUnavailable:
            raise
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
