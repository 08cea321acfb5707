"""Finds sagas for operators: lists page by page, with bounded work for each page, and one saga in full.

No index follows the states of sagas: open sagas are found by their deadlines, others in the order of keys.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from holdfast.messaging.ids import uuid7_after, uuid7_floor
from holdfast.messaging.store import Store
from holdfast.runtime.problems import INVALID_REQUEST, FieldError, Problem
from holdfast.sagas.checkout import CHECKOUT
from holdfast.services.checkout_orchestrator.checkout_service import CheckoutService
from holdfast.services.checkout_orchestrator.saga_views import (
    SagaDetails,
    SagaPage,
    SagaRows,
    to_details,
    to_summary,
)
from holdfast.services.checkout_orchestrator.store_port import SagaFilter, SagaTransaction

LOOKED_AT_MAX = 5_000
PAGE_DEFAULT = 50
PAGE_MAX = 500
STATES = tuple(
    dict.fromkeys(
        (
            CHECKOUT.initial,
            *(state for step in CHECKOUT.steps for state in (step.pending, step.finished)),
            CHECKOUT.compensating,
            CHECKOUT.failed_state,
        )
    )
)
PARAMETERS = ("state", "reason", "older_than_s", "stalled", "order", "limit", "after")
FIRST, LAST = uuid7_floor(0), "ffffffff-ffff-ffff-ffff-ffffffffffff"

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REASON = re.compile(r"[a-z0-9_]{1,100}")


class SagaPageQuery(NamedTuple):
    """A query for one page: which sagas, in which order, how many, after which saga id."""

    states: tuple[str, ...] = ()
    reason: str = ""
    older_than_ms: int = 0
    stalled: bool = False
    oldest_first: bool = False
    limit: int = PAGE_DEFAULT
    after: str = ""


class SagaQueries:
    """Reads without locking anything."""

    def __init__(self, store: Store[SagaTransaction], service: CheckoutService) -> None:
        self._store = store
        self._service = service

    def page(self, page_query: SagaPageQuery) -> SagaPage:
        """Return one page."""
        with self._store.transaction() as tx:
            saga_filter = _to_filter(page_query, tx.now_ms())
            newest_first = not page_query.oldest_first
            candidates = tx.saga_ids(saga_filter, LOOKED_AT_MAX, newest_first=newest_first)
            matching = tx.matching_sagas(saga_filter, candidates)
            ids = [saga_id for saga_id in candidates if saga_id in matching]
            sagas = tx.read_sagas(ids[: page_query.limit])
        if len(ids) > page_query.limit:
            after: str | None = ids[page_query.limit - 1]
        else:
            after = candidates[-1] if len(candidates) == LOOKED_AT_MAX else None
        items = tuple(to_summary(sagas[saga_id]) for saga_id in ids[: page_query.limit] if saga_id in sagas)
        return SagaPage(items, after)

    def details(self, saga_id: str) -> SagaDetails | None:
        """Return all that is known of a saga, None if there is no such saga."""
        with self._store.transaction() as tx:
            saga = tx.read_saga(saga_id)
            if saga is None:
                return None
            rows = SagaRows(
                saga,
                tx.read_history(saga_id),
                tx.read_ignored(saga_id),
                tx.read_timers(saga_id),
                tx.read_actions(saga_id),
            )
            now_ms = tx.now_ms()
        return to_details(self._service.definition_of(saga), rows, now_ms)


def parse_page_query(query: Mapping[str, str]) -> SagaPageQuery:
    """Parse the parameters of a list. Raises Problem, which names all that are wrong."""
    reader = _QueryReader(query)
    page_query = SagaPageQuery(
        states=reader.states(),
        reason=reader.matching("reason", _REASON),
        older_than_ms=reader.number("older_than_s", 0, 0, 10**9) * 1000,
        stalled=reader.one_of("stalled", ("false", "true")) == "true",
        oldest_first=reader.one_of("order", ("newest", "oldest")) == "oldest",
        limit=reader.number("limit", PAGE_DEFAULT, 1, PAGE_MAX),
        after=reader.matching("after", _UUID),
    )
    if reader.wrong:
        raise Problem(INVALID_REQUEST, errors=reader.wrong)
    return page_query


class _QueryReader:
    def __init__(self, query: Mapping[str, str]) -> None:
        self._query = query
        self.wrong: list[FieldError] = []

    def states(self) -> tuple[str, ...]:
        states = tuple(part for part in self._query.get("state", "").upper().split(",") if part)
        if states == ("OPEN",):
            return tuple(state for state in STATES if state not in CHECKOUT.terminal)
        if not set(states) <= set(STATES):
            self.wrong.append(FieldError("/state", f"is OPEN, or one or more of {', '.join(STATES)}"))
        return states

    def matching(self, name: str, form: re.Pattern[str]) -> str:
        text = self._query.get(name, "")
        if text and not form.fullmatch(text):
            self.wrong.append(FieldError(f"/{name}", "has a wrong form"))
        return text

    def number(self, name: str, default: int, least: int, most: int) -> int:
        text = self._query.get(name, str(default))
        if not (len(text) <= 10 and text.isascii() and text.isdigit() and least <= int(text) <= most):
            self.wrong.append(FieldError(f"/{name}", f"must be a whole number from {least} to {most}"))
            return default
        return int(text)

    def one_of(self, name: str, choices: tuple[str, ...]) -> str:
        text = self._query.get(name, choices[0])
        if text not in choices:
            self.wrong.append(FieldError(f"/{name}", f"is one of {', '.join(choices)}"))
        return text


def _to_filter(page_query: SagaPageQuery, now_ms: int) -> SagaFilter:
    """Turn age and `after` into a range of keys: a key holds the time when the checkout was accepted."""
    before = uuid7_floor(now_ms - page_query.older_than_ms) if page_query.older_than_ms else LAST
    from_id = FIRST
    if page_query.after and page_query.oldest_first:
        from_id = uuid7_after(page_query.after)
    elif page_query.after:
        before = min(before, page_query.after)
    terminal = set(page_query.states) & CHECKOUT.terminal
    only_open = page_query.stalled or (bool(page_query.states) and not terminal)
    return SagaFilter(from_id, before, page_query.states, page_query.reason, page_query.stalled, only_open)
