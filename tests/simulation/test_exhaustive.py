"""Small worlds in every order of events, with every kind of fault everywhere: nothing breaks, all can end."""

import os
import sys

import pytest
from tests.simulation.twins import TWINS, Twin

from holdfast.simulation.proof.checkout import ONE
from holdfast.simulation.proof.prove import LARGE, SMALL, Job, prove, search, table, untried

pytestmark = pytest.mark.timeout(1_800)

CAUGHT = {
    "silent_on_a_repeated_command": ("I11", 1),
    "an_unknown_charge_is_answered_as_undone": ("I12", 1),
    "nothing_is_confirmed": ("I11", 0),
    "an_inbox_before_the_fence": ("I11", 1),
    "the_deadline_undoes_the_pivot": ("I12", 1),
    "the_deadline_forgets_the_step_that_is_awaited": ("I12", 1),
    "only_the_last_step_is_undone": ("I12", 1),
    "the_first_undo_answered_ends_the_saga": ("I12", 1),
    "a_late_reply_is_applied": ("I17", 1),
    "a_cancellation_is_heard_after_the_pivot": ("I12", 1),
    "an_undo_is_sent_once": ("I11", 1),
    "the_outbox_refuses_a_repeated_message_id": ("I11", 1),
    "nobody_asks": ("I11", 1),
    "the_gateway_sends_once": ("I11", 1),
    "a_new_key_for_every_attempt_to_charge": ("I04", 1),
    "not_found_is_taken_for_not_charged": ("I12", 1),
    "more_is_sold_than_there_is": ("I07", 0),
    "the_price_is_not_the_snapshots": ("I02", 0),
    "an_order_is_never_placed": ("I09", 0),
    "no_tombstone": ("I12", 2),
    "a_late_reply_adds_an_obligation": ("I11", 2),
}
"""Twin to the invariant that one saga is enough to break, and to the fewest faults that do it."""


@pytest.mark.parametrize("jobs", [SMALL, pytest.param(LARGE, marks=pytest.mark.long)], ids=["small", "large"])
def test_nothing_breaks_a_small_world(jobs: tuple[Job, ...], capsys: pytest.CaptureFixture[str]) -> None:
    reports = prove(jobs, os.cpu_count() or 1)
    with capsys.disabled():
        sys.stdout.write(f"\n{table(reports)}\n")
    assert [(r.scope, finding) for r in reports for finding in r.findings] == []
    assert untried(reports) == []
    assert all(r.states and r.ends for r in reports)


@pytest.mark.parametrize("twin", [t for t in TWINS if t.name in CAUGHT], ids=lambda t: t.name)
def test_the_search_finds_a_broken_rule(twin: Twin) -> None:
    invariant, faults = CAUGHT[twin.name]
    with twin.broken():
        found = next(f for scope in ONE for f in search(Job(scope, faults)).findings)
    assert found.what.startswith(invariant), found


def test_a_finding_tells_how_it_came_to_be() -> None:
    twin = next(t for t in TWINS if t.name == "the_first_undo_answered_ends_the_saga")
    with twin.broken():
        (found,) = search(Job(ONE[0], 1)).findings
    assert found.story[0] == "gateway-bff publishes"
    assert sum("[" in line for line in found.story) == 1, "one fault, and it is named"


def test_the_twins_named_here_exist() -> None:
    assert set(CAUGHT) <= {twin.name for twin in TWINS}
