"""Unknown, late, refused and contradicted payments on a running platform; the ledger is the arbiter."""

import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.e2e.conftest import ENVIRONMENT, PENS, replay_histories
from tests.e2e.load import query
from tests.e2e.shopper import Operator, Shopper
from tests.eventually import eventually

from holdfast import audit
from holdfast.cli.common import ExitCode
from holdfast.contracts.topics import PAYMENT
from holdfast.local.keys import Keys
from holdfast.local.platform import Platform
from holdfast.local.process_table import PROVIDER

WAIT_S = 120.0
PATIENCE = {
    "HOLDFAST_DEADLINE_RESEND_AFTER_MS": "1000",
    "HOLDFAST_DEADLINE_BACKOFF_CAP_MS": "2000",
    "HOLDFAST_DEADLINE_PATIENCE_MS": "600000",
    "HOLDFAST_DEADLINE_PAYMENT_PATIENCE_MS": "20000",
    "HOLDFAST_SETTLE_EVERY_MS": "2000",
}
TOO_DEAR = {"pen": 4001}
"""More than an order may come to: it is charged, refused, and refunded."""


class Provider:
    """The provider, with its admin endpoint and its ledger."""

    def __init__(self, platform: Platform) -> None:
        key = Keys(platform.info.folder.keys).provider.read_text().strip()
        self.client = httpx2.Client(
            base_url=platform.info.services[PROVIDER].url,
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=WAIT_S,
        )
        self._ledger = platform.info.folder.root / "provider" / "ledger.sqlite"

    def rules(self, *rules: dict[str, object]) -> None:
        """Have it misbehave like this from now on."""
        assert self.client.put("/admin/behaviour", json={"rules": list(rules)}).is_success

    def moved(self, saga_id: str) -> dict[str, int]:
        """Count the saga's charges and refunds that moved money."""
        session = sqlite3.connect(f"{self._ledger.as_uri()}?mode=ro", uri=True)
        rows = session.execute(
            "select kind from prov where status = 'ok' and saga_id = ?", [saga_id]
        ).fetchall()
        session.close()
        return dict(Counter(str(kind) for (kind,) in rows))

    def refund_by_hand(self, charge_id: str) -> None:
        """Refund under a key that is not ours."""
        headers = {"Idempotency-Key": f"by-hand-{charge_id}"}
        response = self.client.post("/v1/refunds", data={"payment_intent": charge_id}, headers=headers)
        assert response.is_success, response.text

    def webhooks(self) -> float:
        """Count the webhooks that payment-gateway took."""
        text = self.client.get("/metrics").text
        return _series(text, 'provider_webhooks_total{outcome="delivered"}')


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform") / "data"
    with Platform(folder, webhooks=True, environment=ENVIRONMENT | PATIENCE) as platform:
        platform.wait_ready(90)
        Operator(platform.info).stock(PENS)
        yield platform
        replay_histories(platform)


@pytest.fixture
def provider(platform: Platform) -> Iterator[Provider]:
    provider = Provider(platform)
    with provider.client:
        yield provider
        provider.rules()


def _series(text: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def metric(platform: Platform, series: str) -> float:
    text = httpx2.get(f"{platform.info.services[PAYMENT].ops_url}/metrics", trust_env=False, timeout=60).text
    return _series(text, series)


def reaches(shopper: Shopper, saga_id: str, state: str) -> None:
    eventually(lambda: shopper.look(saga_id)["state"] == state, f"{saga_id} is {state}", WAIT_S)


def holdfast(platform: Platform, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "holdfast.cli.main", *arguments, "--data", platform.info.data]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=WAIT_S)


def listed(platform: Platform, *arguments: str) -> dict[str, dict[str, Any]]:
    done = holdfast(platform, "payment", "list", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return {item["saga_id"]: item for item in json.loads(done.stdout)}


def payment(platform: Platform, saga_id: str) -> dict[str, Any]:
    """Return a payment as operators see it, without the time that a command takes to start."""
    headers = {"Authorization": f"Bearer {Keys(platform.info.folder.keys).token('olga', operator=True)}"}
    url = f"{platform.info.services[PAYMENT].ops_url}/v1/payments?saga_id={saga_id}"
    response = httpx2.get(url, headers=headers, trust_env=False, timeout=60)
    [item] = response.json()["items"] if response.is_success else [{}]
    return dict(item)


def fails_with(platform: Platform, saga_id: str, error: str) -> bool:
    return str(payment(platform, saga_id).get("last_error", "")).startswith(error)


def test_a_call_that_arrives_after_all_while_its_saga_is_undone_is_refunded(
    platform: Platform, shopper: Shopper, provider: Provider
) -> None:
    provider.rules(
        {"operation": "charge", "do": "late", "ms": 4000, "times": 1},
        {"operation": "charge", "do": "unavailable"},
        {"operation": "lookup", "do": "unavailable"},  # or the charge is found, and refunded at once
    )
    saga_id = shopper.buy({"pen": 1})
    reaches(shopper, saga_id, "PAYMENT_PROCESSING_PENDING")
    eventually(lambda: payment(platform, saga_id).get("attempts", 0) >= 1, "the first call is made", WAIT_S)
    assert shopper.client.post(f"/v1/checkouts/{saga_id}/cancel").status_code == 202
    eventually(lambda: provider.moved(saga_id) == {"charge": 1}, "the first call arrives after all", WAIT_S)
    told = shopper.look(saga_id)
    assert (told["state"], told["money_held"]) == ("COMPENSATING", True), "nobody believes the silence"
    provider.rules()
    ended = shopper.end_of(saga_id)
    assert (ended["state"], ended["reason"], ended["money_held"]) == ("FAILED", "cancelled_by_shopper", False)
    assert provider.moved(saga_id) == {"charge": 1, "refund": 1}


def test_while_the_provider_is_unavailable_the_breaker_is_open_and_charges_wait(
    platform: Platform, shopper: Shopper, provider: Provider
) -> None:
    opened = 'breaker_transitions_total{breaker="payment-provider",state="open"}'
    before = metric(platform, opened)
    provider.rules({"operation": "charge", "do": "unavailable"})
    sagas = [shopper.buy({"pen": 1}) for _ in range(6)]
    eventually(lambda: metric(platform, opened) > before, "the breaker opens", WAIT_S)
    assert {shopper.look(saga_id)["state"] for saga_id in sagas} <= {
        "INVENTORY_RESERVATION_PENDING",
        "PAYMENT_PROCESSING_PENDING",
    }
    provider.rules()
    assert {shopper.end_of(saga_id)["state"] for saga_id in sagas} == {"COMPLETED"}
    closed = 'breaker_state{breaker="payment-provider",state="closed"}'
    eventually(lambda: metric(platform, closed) == 1, "the breaker is closed", WAIT_S)
    assert [provider.moved(saga_id) for saga_id in sagas] == [{"charge": 1}] * 6


def test_a_refused_refund_is_owed_until_somebody_refunds_and_its_saga_ends_by_itself(
    platform: Platform, shopper: Shopper, provider: Provider
) -> None:
    provider.rules({"operation": "refund", "do": "refuse"})
    saga_id = shopper.buy(TOO_DEAR)
    refused = "refund refused: charge_disputed"
    eventually(lambda: fails_with(platform, saga_id, refused), "it is owed", WAIT_S)
    assert listed(platform, "--owed")[saga_id]["last_error"] == refused
    eventually(lambda: bool(shopper.look(saga_id)["stalled"]), "it is stalled", WAIT_S)
    assert shopper.look(saga_id)["money_held"]
    page = holdfast(platform, "saga", "show", saga_id).stdout
    assert "STALLED" in page
    assert "10,002.50 GBP to refund" in page
    eventually(
        lambda: metric(platform, 'payments_owed_minor{currency="GBP"}') == 4001 * 250, "the gauge", WAIT_S
    )
    assert metric(platform, 'payment_alarms_total{alarm="refund_refused"}') >= 1
    provider.rules()
    provider.refund_by_hand(payment(platform, saga_id)["charge_id"])
    ended = shopper.end_of(saga_id)
    assert (ended["state"], ended["stalled"], ended["money_held"]) == ("FAILED", False, False)
    assert provider.moved(saga_id) == {"charge": 1, "refund": 1}
    assert not payment(platform, saga_id)["owed"]


def test_an_operator_says_that_a_refund_was_made_by_hand(
    platform: Platform, shopper: Shopper, provider: Provider
) -> None:
    deaf = {"operation": "webhook", "do": "hold", "ms": 600_000}
    provider.rules({"operation": "refund", "do": "refuse"}, deaf)
    saga_id = shopper.buy(TOO_DEAR)
    eventually(lambda: fails_with(platform, saga_id, "refund refused"), "it is owed", WAIT_S)
    resolve = ["payment", "resolve", saga_id, "--refunded", "--reason", "paid back by bank"]
    early = holdfast(platform, *resolve)
    assert (early.returncode, early.stdout) == (ExitCode.CONFLICT, ""), "the provider does not say so"
    provider.rules(deaf)
    provider.refund_by_hand(payment(platform, saga_id)["charge_id"])
    done = holdfast(platform, *resolve, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["state"] == "UNDONE"
    assert shopper.end_of(saga_id)["state"] == "FAILED"
    actions = query(
        platform, f"select action, reason from operator_actions where target = '{saga_id}'", PAYMENT
    )
    assert actions == [("payment.resolve.refunded", "paid back by bank")]


def test_an_unknown_payment_is_listed_and_resolved(
    platform: Platform, shopper: Shopper, provider: Provider
) -> None:
    provider.rules({"operation": "charge", "do": "error_stored"})
    saga_id = shopper.buy({"pen": 2})
    stored = "stored_http_500"
    eventually(lambda: fails_with(platform, saga_id, stored), "it is unknown", WAIT_S)
    assert saga_id in holdfast(platform, "payment", "list", "--unknown").stdout
    resolve = ["payment", "resolve", saga_id, "--reason", "called the provider"]
    assert holdfast(platform, *resolve, "--charged", "pi_of_nobody").returncode == ExitCode.CONFLICT
    assert holdfast(platform, *resolve).returncode == ExitCode.USAGE
    done = holdfast(platform, *resolve, "--not-charged")
    assert (done.returncode, saga_id in done.stdout) == (0, True), done.stderr
    ended = shopper.end_of(saga_id)
    assert (ended["state"], ended["money_held"]) == ("FAILED", False)
    assert provider.moved(saga_id) == {}
    assert holdfast(platform, *resolve, "--not-charged").returncode == ExitCode.CONFLICT
    assert not payment(platform, saga_id)["unknown"]


def test_webhooks_that_repeat_overtake_and_contradict_change_nothing(
    platform: Platform, shopper: Shopper, provider: Provider
) -> None:
    before = provider.webhooks()
    provider.rules(
        {"operation": "webhook", "do": "contradict", "times": 1},
        {"operation": "webhook", "do": "hold", "ms": 1000, "times": 1},
        {"operation": "webhook", "do": "duplicate", "copies": 10},
    )
    declined = shopper.buy({"pen": 1}, "pm_card_chargeDeclined")
    assert shopper.end_of(declined)["reason"] == "payment_declined"
    sagas = [shopper.buy({"pen": 1}) for _ in range(2)]
    assert {shopper.end_of(saga_id)["state"] for saga_id in sagas} == {"COMPLETED"}
    eventually(lambda: provider.webhooks() - before >= 2 + 1 + 10, "all webhooks were taken", WAIT_S)
    states = {saga_id: payment(platform, saga_id) for saga_id in (declined, *sagas)}
    assert states[declined]["state"] == "REFUSED"
    assert [provider.moved(saga_id) for saga_id in (declined, *sagas)] == [{}, {"charge": 1}, {"charge": 1}]
    assert {states[saga_id]["refund_id"] for saga_id in states} == {""}


def test_and_the_books_balance(platform: Platform) -> None:
    report = audit.run(Path(platform.info.data), WAIT_S)
    assert report.exit_code == 0, (report.quiet, [str(violation) for violation in report.violations])
