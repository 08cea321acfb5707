"""Redrives many dead letters: in waves, at a bounded rate, and no further once failures come back.

How they are chosen and shown is the command's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

CANARY = (1, 5, 25)
CALL_MAX = 100
LOOK_EVERY_S = 0.25


class DeadLetterRow(NamedTuple):
    """One parked record: the service that keeps it, its place on the bus, and why it was parked."""

    service: str
    place: str
    reason: str


class Services(Protocol):
    """The operators' endpoints of the services."""

    def get(self, service: str, path: str, params: Any = None) -> Any: ...

    def post(self, service: str, path: str, body: Any) -> Any: ...


@dataclass
class Result:
    """The result for the letters; `came_back` are those that were parked again, with the reason."""

    done: list[DeadLetterRow] = field(default_factory=list)
    skipped: list[tuple[DeadLetterRow, str]] = field(default_factory=list)
    came_back: list[DeadLetterRow] = field(default_factory=list)
    unknown: list[DeadLetterRow] = field(default_factory=list)
    left: int = 0


def waves(letters: Sequence[DeadLetterRow], *, canary: bool) -> list[Sequence[DeadLetterRow]]:
    """Cut into 1, 5, 25 and the rest, or not at all."""
    cut: list[Sequence[DeadLetterRow]] = []
    start = 0
    for size in CANARY if canary else ():
        cut.append(letters[start : start + size])
        start += size
    return [wave for wave in (*cut, letters[start:]) if wave]


def pages(services: Services, service: str, query: dict[str, str]) -> list[dict[str, Any]]:
    """Return all rows of a service that match, page by page."""
    rows: list[dict[str, Any]] = []
    after = ""
    while True:
        page = services.get(service, "/v1/dead-letters", {**query, **({"after": after} if after else {})})
        rows += page["items"]
        after = page["next"]
        if not after:
            return rows


class Acting:
    """Acts on letters, `rate` a second at most."""

    def __init__(
        self,
        services: Services,
        reason: str,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._services = services
        self._reason = reason
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._began = clock()
        self._acts = 0

    def act(self, verb: str, letters: Sequence[DeadLetterRow], result: Result) -> None:
        """Redrive or discard these; what was acted on before is skipped."""
        size = max(1, min(CALL_MAX, int(self._rate)))
        for service in dict.fromkeys(letter.service for letter in letters):
            mine = {letter.place: letter for letter in letters if letter.service == service}
            places = list(mine)
            for start in range(0, len(places), size):
                some = places[start : start + size]
                self._pace(len(some))
                body = {"places": some, "reason": self._reason}
                answer = self._services.post(service, f"/v1/dead-letters/{verb}", body)
                result.done += [mine[place] for place in answer["done"]]
                result.skipped += [(mine[each["place"]], each["why"]) for each in answer["skipped"]]

    def redrive(self, letters: Sequence[DeadLetterRow], wait_s: float, *, canary: bool) -> Result:
        """Redrive; with `canary` in waves, each waited for, and none after one of which any came back."""
        result = Result()
        rest = len(letters)
        for wave in waves(letters, canary=canary):
            before = len(result.done)
            self.act("redrive", wave, result)
            rest -= len(wave)
            if not canary:
                continue
            sent = result.done[before:]
            result.unknown = self._await(sent, wait_s)
            result.came_back += self._came_back(sent)
            if result.came_back or result.unknown:
                break
        result.left = rest
        return result

    def _pace(self, count: int) -> None:
        """Wait until the rate allows this many more."""
        ahead_s = self._acts / self._rate - (self._clock() - self._began)
        if ahead_s > 0:
            self._sleep(ahead_s)
        self._acts += count

    def _await(self, sent: Sequence[DeadLetterRow], wait_s: float) -> list[DeadLetterRow]:
        """Wait until the services have a result for each of these; return those without one in time."""
        deadline = self._clock() + wait_s
        while True:
            under_way = {
                (service, row["place"])
                for service in {letter.service for letter in sent}
                for row in pages(self._services, service, {"status": "redriven", "outcome": "unknown"})
            }
            waiting = [letter for letter in sent if (letter.service, letter.place) in under_way]
            if not waiting or self._clock() >= deadline:
                return waiting
            self._sleep(LOOK_EVERY_S)

    def _came_back(self, sent: Sequence[DeadLetterRow]) -> list[DeadLetterRow]:
        """Return those of these that are parked again."""
        places = {(letter.service, letter.place) for letter in sent}
        return [
            DeadLetterRow(service, row["place"], row["reason"])
            for service in sorted({letter.service for letter in sent})
            for row in pages(self._services, service, {"status": "parked"})
            if (service, row["place"]) in places
        ]
