"""Waits until the system is quiet: no message is on its way, so that the books can be compared.

One check reads the bus, then every book at its own moment, then the bus again: if nothing was published in
between and nothing waits anywhere, the books can be compared as if all were read at one moment.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from holdfast.audit.positions import FetchPositions, Position
from holdfast.audit.sessions import Books
from holdfast.audit.sources import SourceUnavailable
from holdfast.contracts.steps import GATEWAY, ORCHESTRATOR, SERVICES, STEPS

LOOK_EVERY_S = 0.2


class QuiescenceCheck(NamedTuple):
    """What one check found: why it is not quiet, and how many sagas are neither ended nor stalled."""

    reasons: list[str]
    under_way: int

    @property
    def settled(self) -> bool:
        return not self.reasons and not self.under_way


def wait(
    books: Books,
    ask_bus: FetchPositions,
    timeout_s: float,
    progress: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Check until the system is quiet and return [], with the books open at that moment; else return why not.

    A saga under way whose next timer is not due yet leaves the system quiet, but only for a while: the wait
    for its end has the same timeout. Raises SourceUnavailable if a book cannot be read until the timeout.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        began = time.monotonic()
        try:
            found = look(books, ask_bus)
        except SourceUnavailable as error:
            if time.monotonic() >= deadline:
                raise
            found = QuiescenceCheck([str(error)], 0)
        if found.settled or time.monotonic() >= deadline:
            return found.reasons
        progress(_waiting_for(found))
        pause_s = max(LOOK_EVERY_S, time.monotonic() - began)  # rest as long as a check took: it may be long
        time.sleep(min(pause_s, max(0.0, deadline - time.monotonic())))


def _waiting_for(found: QuiescenceCheck) -> str:
    if not found.reasons:
        return f"{found.under_way} sagas are under way"
    first, *others = found.reasons
    return f"{first}, and {len(others)} more reasons" if others else first


def look(books: Books, ask_bus: FetchPositions) -> QuiescenceCheck:
    """Check once, at new moments; the books stay open at them. Raises SourceUnavailable."""
    books.refresh()
    before = ask_bus()
    books.ledger_rows("read_ledger_moment")
    reasons = [*_outboxes(books), *_timers(books), *_holds(books), *_untold(books)]
    ((under_way,),) = books.rows(ORCHESTRATOR, "count_sagas_under_way")
    after = ask_bus()
    return QuiescenceCheck([*_lags(before), *_published(before, after), *reasons], under_way)


def _outboxes(books: Books) -> list[str]:
    reasons = []
    for service in SERVICES:
        ((batches, age_s),) = books.rows(service, "count_outbox")
        if batches:
            reasons.append(f"{service}'s outbox holds {batches} batches, the oldest of {age_s} s ago")
    return reasons


def _timers(books: Books) -> list[str]:
    return [
        f"{service} has {count} {kind} timers due"
        for service in SERVICES
        for kind, count in books.rows(service, "count_due_timers")
    ]


def _holds(books: Books) -> list[str]:
    """Return a reason for each service with steps that wait for a confirm or an undo of an ended saga."""
    reasons = []
    for service in (row.service for row in STEPS if row.confirm):
        held: dict[str, str] = dict(books.rows(service, "find_open_fences"))
        ended = _ended(books, list(held))
        if ended:
            saga_id, state = min(ended.items())
            example = f"saga {saga_id}: {held[saga_id]}, it is {state}"
            reasons.append(f"{service} holds {len(ended)} steps of ended sagas ({example})")
    return reasons


def _untold(books: Books) -> list[str]:
    waiting = [saga_id for (saga_id,) in books.rows(GATEWAY, "find_open_checkouts")]
    ended = _ended(books, waiting)
    if not ended:
        return []
    return [f"{GATEWAY} has not heard that {len(ended)} sagas have ended (saga {min(ended)})"]


def _ended(books: Books, saga_ids: list[str]) -> dict[str, str]:
    if not saga_ids:
        return {}
    return dict(books.rows(ORCHESTRATOR, "find_ended_sagas", saga_ids=saga_ids))


def _lags(positions: list[Position]) -> list[str]:
    return [
        f"group {each.group} lags {each.end - each.committed} behind"
        f" on {each.place.topic}/{each.place.partition}"
        for each in sorted(positions)
        if each.committed < each.end
    ]


def _published(before: list[Position], after: list[Position]) -> list[str]:
    known = {each.place: each.end for each in before}
    if known == {each.place: each.end for each in after}:
        return []
    return ["messages were published during the look"]
