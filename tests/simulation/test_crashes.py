"""Every crash point singly, and every ordered pair, on the way of one saga that succeeds or is undone.

Real processes are killed at the same crash points in tests/e2e/test_crashpoints.py.
"""

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import pytest
from tests.simulation.crash_pairs import SITES, CrashSite, Visited, visit

from holdfast.messaging.crashpoints import CRASHPOINTS
from holdfast.simulation.campaign import CLEAN_START

ENDS = {False: "COMPLETED", True: "FAILED"}
"""How every saga ends, by whether carts are held: no crash may change it."""


def _reached(*, held: bool) -> list[CrashSite]:
    """List the crash points that these worlds reach; if nothing is undone, nothing is refunded."""
    return [site for site in SITES if held or not site.point.startswith("refund.")]


def _representatives() -> list[CrashSite]:
    """Pick one service for every crash point, so that all services have their part."""
    chosen = []
    for number, (name, site) in enumerate(CRASHPOINTS.items()):
        chosen.append(CrashSite(site.services[number % len(site.services)], name))
    return chosen


@pytest.mark.parametrize("held", [False, True])
def test_one_crash_changes_nothing(held: bool) -> None:
    for site in _reached(held=held):
        seen = visit([site], held=held)
        assert _broken([site], seen, held=held) == []
        assert seen.sagas == 1, f"{site} lies on the way of one saga"


@pytest.mark.every_core
@pytest.mark.parametrize("held", [False, True])
def test_two_crashes_after_each_other_change_nothing(held: bool) -> None:
    """Every ordered pair of names, each in one service that reaches it."""
    sites = [site for site in _representatives() if site in _reached(held=held)]
    assert {site.service for site in sites} == {site.service for site in SITES}
    _visit_pairs(sites, held=held)


@pytest.mark.long
@pytest.mark.parametrize("held", [False, True])
def test_two_crashes_in_any_two_services_change_nothing(held: bool) -> None:
    """Every ordered pair of crash sites, each a name and a service."""
    _visit_pairs(_reached(held=held), held=held)


def _visit_pairs(sites: Sequence[CrashSite], *, held: bool) -> None:
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context(CLEAN_START)) as pool:
        rows = [pool.submit(_row, first, sites, held) for first in sites]
        seen = [each for row in rows for each in row.result()]
    assert [broken for broken, _ in seen if broken] == []
    sagas = Counter(count for _, count in seen)
    assert sagas.total() == len(sites) ** 2
    # If the second site comes before the first on the way, a later saga reaches it.
    assert sagas[1] > sagas.total() * 0.7


def _row(first: CrashSite, sites: Iterable[CrashSite], held: bool) -> list[tuple[list[str], int]]:
    """Crash at `first` and then at each: return what is broken, and how many sagas it took."""
    pairs = [[first, second] for first, second in product([first], sites)]
    visits = [(pair, visit(pair, held=held)) for pair in pairs]
    return [(_broken(pair, seen, held=held), seen.sagas) for pair, seen in visits]


def _broken(sites: Sequence[CrashSite], seen: Visited, *, held: bool) -> list[str]:
    found = [f"{sites}: {violation}" for violation in seen.violations]
    if seen.crashed != list(sites):
        found.append(f"{sites}: crashed at {seen.crashed}")
    if seen.ends != Counter({ENDS[held]: seen.sagas}):
        found.append(f"{sites}: ended as {dict(seen.ends)}")
    return found
