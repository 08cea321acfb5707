"""Small worlds in every order of events, with every kind of fault everywhere: nothing breaks, all can end."""

import os
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from tests.simulation.mutants import MUTANTS, Mutant

from holdfast.messaging.handler import HandlerResult
from holdfast.messaging.participant import ParticipantHandler
from holdfast.simulation.proof import real_harness
from holdfast.simulation.proof.checkout import ONE, CheckoutModel, Scope
from holdfast.simulation.proof.prove import LARGE, SMALL, Job, prove, search, table, untried
from holdfast.simulation.proof.search import Search
from holdfast.simulation.run import quiet_logs

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
    "the_price_is_not_the_snapshots": ("parked: ", 0),
    "an_order_is_never_placed": ("I09", 0),
    "no_tombstone": ("I12", 2),
    "a_late_reply_adds_an_obligation": ("I11", 2),
}
"""Mutant to the invariant that one saga is enough to break, and to the fewest faults that do it."""


@pytest.mark.every_core
@pytest.mark.parametrize("jobs", [SMALL, pytest.param(LARGE, marks=pytest.mark.long)], ids=["small", "large"])
def test_nothing_breaks_a_small_world(jobs: tuple[Job, ...], capsys: pytest.CaptureFixture[str]) -> None:
    reports = prove(jobs, os.cpu_count() or 1)
    with capsys.disabled():
        sys.stdout.write(f"\n{table(reports)}\n")
    assert [(r.scope, finding) for r in reports for finding in r.findings] == []
    assert untried(reports) == []
    assert all(r.states and r.ends for r in reports)


@pytest.mark.parametrize("reduced", [True, False], ids=["reduced", "whole"])
@pytest.mark.parametrize("mutant", [t for t in MUTANTS if t.name in CAUGHT], ids=lambda t: t.name)
def test_the_search_finds_a_broken_rule(mutant: Mutant, *, reduced: bool) -> None:
    invariant, faults = CAUGHT[mutant.name]
    with mutant.broken(), quiet_logs():
        searches = (Search(CheckoutModel(scope), faults, reduced=reduced) for scope in ONE)
        found = next(finding for each in searches for finding in each.run().findings)
    assert found.what.startswith(invariant), found


def ends(scope: Scope, faults: int, *, reduced: bool) -> tuple[int, set[tuple[Any, ...]]]:
    """Return the number of states, and the databases of each end."""
    search = Search(CheckoutModel(scope), faults, reduced=reduced)
    with quiet_logs():
        states = search.run().states
    models = search.space.models
    return states, {
        tuple(model.nodes.values[node].db for model, node in zip(models, end, strict=False))
        for end in search.ends()
    }


@pytest.mark.parametrize(
    ("scope", "faults"),
    [
        *((scope, 1) for scope in ONE),
        *((scope, 2) for scope in ONE if scope.name in ("card declined", "out of stock")),
    ],
    ids=lambda value: value.name if isinstance(value, Scope) else str(value),
)
def test_what_is_left_out_leads_to_no_other_end(
    scope: Scope, faults: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, reached = ends(scope, faults, reduced=True)
    monkeypatch.setattr(real_harness, "HEADERS_LEFT_OUT", frozenset())
    monkeypatch.setattr(real_harness, "_fired", lambda row: min(row.fired, real_harness.FIRED_MAX))
    many, reached_by_all = ends(scope, faults, reduced=False)
    assert reached == reached_by_all
    assert few < many


def test_a_batch_that_does_otherwise_than_its_messages_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ParticipantHandler.handle

    def handle(self: Any, tx: Any, envelopes: Sequence[Any]) -> HandlerResult:
        return real(self, tx, envelopes[:1])

    monkeypatch.setattr(ParticipantHandler, "handle", handle)
    (found,) = search(Job(ONE[0], 0)).findings
    assert found.what.startswith("batches: ")


def test_a_finding_tells_how_it_came_to_be() -> None:
    mutant = next(t for t in MUTANTS if t.name == "the_first_undo_answered_ends_the_saga")
    with mutant.broken():
        (found,) = search(Job(ONE[0], 1)).findings
    assert found.story[0] == "gateway-bff publishes"
    assert sum("[" in line for line in found.story) == 1, "one fault, and it is named"


def test_the_mutants_named_here_exist() -> None:
    assert set(CAUGHT) <= {mutant.name for mutant in MUTANTS}
