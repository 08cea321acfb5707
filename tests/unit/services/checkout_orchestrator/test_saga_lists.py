"""Operators list sagas: by state, reason and age, page by page, each page with a bounded amount of work."""

import pytest
from tests.callers import problem
from tests.unit.services.checkout_orchestrator.orchestrator_harness import (
    HOUR_MS,
    PIECES,
    OrchestratorHarness,
    run_scenario,
)

from holdfast.messaging.ids import uuid7
from holdfast.services.checkout_orchestrator import saga_queries


def _several(harness: OrchestratorHarness) -> list[str]:
    """Three sagas an hour apart: completed, failed, awaiting payment."""
    now_ms = harness.platform.now_ms
    ids = [str(uuid7(now_ms - hours * HOUR_MS, hours)) for hours in (3, 2, 1)]
    harness.buy(ids[0])
    harness.platform.settle()
    harness.platform.put_cart(f"cart-{ids[1]}", PIECES)
    harness.platform.initiate(ids[1], PIECES, card="pm_card_chargeDeclined")
    harness.platform.settle()
    harness.buy(ids[2])
    harness.forward(1)
    return ids


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [2, 1, 0]),
        ("?order=oldest", [0, 1, 2]),
        ("?state=COMPLETED", [0]),
        ("?state=completed,failed", [1, 0]),
        ("?state=OPEN", [2]),
        ("?state=PAYMENT_PROCESSING_PENDING", [2]),
        ("?state=COMPENSATING", []),
        ("?reason=payment_declined", [1]),
        ("?reason=deadline", []),
        ("?older_than_s=5400", [1, 0]),
        ("?older_than_s=9000", [0]),
        ("?stalled=true", []),
        ("?limit=2", [2, 1]),
        ("?limit=2&order=oldest", [0, 1]),
    ],
)
def test_sagas_are_listed_by_state_reason_and_age(query: str, found: list[int]) -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        ids = _several(harness)
        assert await harness.listed(query) == [ids[n] for n in found]

    run_scenario(scenario)


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("looked_at", [1, 2, 5_000])
@pytest.mark.parametrize("wanted", ["", "&state=FAILED,COMPLETED", "&state=OPEN"])
def test_pages_lead_to_each_other_and_each_looks_at_a_bounded_number(
    monkeypatch: pytest.MonkeyPatch, order: str, looked_at: int, wanted: str
) -> None:
    monkeypatch.setattr(saga_queries, "LOOKED_AT_MAX", looked_at)

    async def scenario(harness: OrchestratorHarness) -> None:
        ids = _several(harness)
        whole = await harness.listed(f"?order={order}{wanted}&limit=500") if looked_at == 5_000 else None
        found: list[str] = []
        after = ""
        for _ in range(8):
            page = await harness.ask(harness.looker, "GET", f"/v1/sagas?order={order}&limit=1{wanted}{after}")
            assert len(page.json()["items"]) <= 1
            found += [item["saga_id"] for item in page.json()["items"]]
            if page.json()["next"] is None:
                break
            after = f"&after={page.json()['next']}"
        else:
            raise AssertionError("pages without end")
        expected = {"": ids, "&state=FAILED,COMPLETED": ids[:2], "&state=OPEN": ids[2:]}[wanted]
        assert found == sorted(expected, reverse=order == "newest")
        assert whole in (None, found)

    run_scenario(scenario)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("state=LOST", "/state"),
        ("reason=%27or", "/reason"),
        ("older_than_s=-1", "/older_than_s"),
        ("limit=0", "/limit"),
        ("limit=501", "/limit"),
        ("order=best", "/order"),
        ("stalled=maybe", "/stalled"),
        ("after=1", "/after"),
        ("colour=red", ""),
    ],
)
def test_a_wrong_query_is_refused_by_name(query: str, pointer: str) -> None:
    async def scenario(harness: OrchestratorHarness) -> None:
        answer = await harness.ask(harness.looker, "GET", f"/v1/sagas?{query}")
        assert problem(answer) == (422, "invalid_request", [pointer])

    run_scenario(scenario)
