"""Cancelled, silent and stalled checkouts on a running platform: what shoppers read, what operators do."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from tests.e2e.conftest import frozen, running
from tests.e2e.shopper import Shopper
from tests.eventually import eventually

from holdfast import audit
from holdfast.cli.common import ExitCode
from holdfast.contracts.topics import CART, INVENTORY, ORCHESTRATOR, ORDER, PAYMENT
from holdfast.local.keys import Keys
from holdfast.local.platform import Platform
from holdfast.local.process_table import PROVIDER

WAIT_S = 120.0
PATIENCE = {
    "HOLDFAST_DEADLINE_RESEND_AFTER_MS": "1000",
    "HOLDFAST_DEADLINE_BACKOFF_CAP_MS": "2000",
    "HOLDFAST_DEADLINE_PATIENCE_MS": "600000",
    "HOLDFAST_DEADLINE_PAYMENT_PATIENCE_MS": "10000",
}
"""Silence of a payment is believed soon, of all else never: who cancels something takes their time."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("platform"), "postgres", **PATIENCE) as platform:
        yield platform


@contextmanager
def misbehaving(platform: Platform, *rules: dict[str, object]) -> Iterator[None]:
    """Have the provider misbehave, and behave again at the end."""
    key = Keys(platform.info.folder.keys).provider.read_text().strip()
    client = httpx2.Client(
        base_url=platform.info.services[PROVIDER].url,
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
        timeout=WAIT_S,
    )
    with client:
        assert client.put("/admin/behaviour", json={"rules": list(rules)}).is_success
        try:
            yield
        finally:
            assert client.put("/admin/behaviour", json={"rules": []}).is_success


def reaches(shopper: Shopper, saga_id: str, state: str) -> None:
    eventually(lambda: shopper.look(saga_id)["state"] == state, f"{saga_id} is {state}", WAIT_S)


def holdfast(platform: Platform, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "holdfast.cli.main", *arguments, "--data", platform.info.data]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=WAIT_S)


def listed(platform: Platform, *arguments: str) -> list[dict[str, Any]]:
    done = holdfast(platform, "saga", "list", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def shown(platform: Platform, saga_id: str) -> str:
    done = holdfast(platform, "saga", "show", saga_id)
    assert done.returncode == 0, done.stderr
    return done.stdout


def metric(platform: Platform, name: str) -> float:
    text = httpx2.get(
        f"{platform.info.services[ORCHESTRATOR].ops_url}/metrics", trust_env=False, timeout=60
    ).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found is not None, f"{name} is not among the metrics"
    return float(found[1])


def test_a_shopper_cancels_a_checkout_that_is_under_way(platform: Platform, shopper: Shopper) -> None:
    with frozen(platform, ORDER):
        saga_id = shopper.buy({"gem": 2})
        reaches(shopper, saga_id, "ORDER_CREATION_PENDING")
        answer = shopper.client.post(f"/v1/checkouts/{saga_id}/cancel")
        assert answer.status_code == 202, answer.text
        told = answer.json()
        assert (told["state"], told["reason"]) == ("COMPENSATING", "cancelled_by_shopper")
        assert (told["message"], told["money_held"]) == (
            "You cancelled this checkout. Your payment is being refunded.",
            True,
        )
        again = shopper.client.post(f"/v1/checkouts/{saga_id}/cancel")
        assert again.status_code == 202, again.text
    ended = shopper.end_of(saga_id)
    assert (ended["state"], ended["reason"], ended["money_held"]) == ("FAILED", "cancelled_by_shopper", False)
    assert "refunded in full" in ended["message"]
    assert shopper.client.post(f"/v1/checkouts/{saga_id}/cancel").status_code == 200


def test_once_its_cart_is_being_cleared_nobody_cancels_it(platform: Platform, shopper: Shopper) -> None:
    cart_id = f"cart-{uuid4().hex[:12]}"
    shopper.fill(cart_id, {"pen": 1})
    with frozen(platform, INVENTORY):
        saga_id = str(shopper.post(cart_id).json()["saga_id"])
        platform.kill(CART, signal.SIGSTOP)
    try:
        reaches(shopper, saga_id, "CART_CLEARANCE_PENDING")
        answer = shopper.client.post(f"/v1/checkouts/{saga_id}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "not_cancellable")
        done = holdfast(platform, "saga", "cancel", saga_id, "--reason", "wanted to")
        assert (done.returncode, done.stdout) == (ExitCode.CONFLICT, "")
        assert "cannot be cancelled any more" in shown(platform, saga_id)
        assert saga_id in {saga["saga_id"] for saga in listed(platform, "--state", "CART_CLEARANCE_PENDING")}
    finally:
        platform.kill(CART, signal.SIGCONT)
    assert shopper.end_of(saga_id)["state"] == "COMPLETED"
    answer = shopper.client.post(f"/v1/checkouts/{saga_id}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (409, "COMPLETED")


def test_an_operator_cancels_and_the_log_says_who_and_why(platform: Platform, shopper: Shopper) -> None:
    with frozen(platform, ORDER):
        saga_id = shopper.buy({"pen": 1})
        reaches(shopper, saga_id, "ORDER_CREATION_PENDING")
        resumed = holdfast(platform, "saga", "resume", saga_id, "--reason", "impatient")
        assert resumed.stdout.endswith("is ORDER_CREATION_PENDING; sent CreateOrder\n"), resumed.stderr
        done = holdfast(platform, "saga", "cancel", saga_id, "--reason", "the shopper rang")
        assert done.returncode == 0, done.stderr
        assert "sent CompensateOrder, CompensatePayment, CompensateInventory" in done.stdout
    ended = shopper.end_of(saga_id)
    assert (ended["state"], ended["reason"]) == ("FAILED", "cancelled_by_operator")
    assert "the shopper rang" not in json.dumps(ended)
    page = shown(platform, saga_id)
    assert re.search(r"cancel_saga +the shopper rang", page)
    assert re.search(r"resume_saga +impatient", page)
    assert [s["saga_id"] for s in listed(platform, "--reason", "cancelled_by_operator")] == [saga_id]


def test_a_silent_payment_is_undone_and_what_it_did_late_is_refunded(
    platform: Platform, shopper: Shopper
) -> None:
    with frozen(platform, PAYMENT):
        saga_id = shopper.buy({"pen": 3})
        reaches(shopper, saga_id, "COMPENSATING")
        told = shopper.look(saga_id)
        assert (told["reason"], told["money_held"]) == ("deadline", True)
        assert "being refunded" in told["message"]
    ended = shopper.end_of(saga_id)
    assert (ended["state"], ended["reason"], ended["money_held"]) == ("FAILED", "deadline", False)
    assert metric(platform, 'checkout_sagas_undone_by_deadline_total{step="payment"}') == 1


def test_a_refund_that_is_stuck_stalls_its_saga_until_the_provider_heals(
    platform: Platform, shopper: Shopper
) -> None:
    with misbehaving(platform, {"operation": "refund", "do": "error_heals", "status": 503}):
        saga_id = shopper.buy({"pen": 4001})
        eventually(lambda: bool(listed(platform, "--stalled")), "the saga is stalled", WAIT_S)
        [stalled] = listed(platform, "--stalled")
        assert (stalled["saga_id"], stalled["state"]) == (saga_id, "COMPENSATING")
        assert stalled["owed"] == {
            "steps": ["payment"],
            "amount_minor": 4001 * 250,
            "currency": "GBP",
            "pieces": {},
        }
        page = shown(platform, saga_id)
        assert "10,002.50 GBP to refund" in page
        assert "STALLED" in page
        assert "Waits for the answer to CompensatePayment" in page
        eventually(lambda: metric(platform, "checkout_sagas_stalled") == 1, "the gauge tells of it", WAIT_S)
        told = shopper.look(saga_id)
        assert (told["stalled"], told["money_held"]) == (True, True)
        assert told["message"].endswith("Your payment is being refunded.")
        resumed = holdfast(platform, "saga", "resume", saga_id, "--reason", "look again")
        assert "sent CompensatePayment" in resumed.stdout, resumed.stderr
    ended = shopper.end_of(saga_id)
    assert (ended["state"], ended["stalled"], ended["money_held"]) == ("FAILED", False, False)
    assert listed(platform, "--stalled") == []
    eventually(lambda: metric(platform, "checkout_sagas_stalled") == 0, "the gauge is back", WAIT_S)


def test_lists_by_state_and_age_and_what_is_not_there(platform: Platform, shopper: Shopper) -> None:
    saga_id = shopper.buy({"pen": 1})
    shopper.end_of(saga_id)
    completed = listed(platform, "--state", "COMPLETED")
    assert completed[0]["saga_id"] == saga_id, "newest first"
    assert listed(platform, "--state", "COMPLETED", "--older-than", "1d") == []
    assert listed(platform, "--oldest", "--limit", "1")[0]["saga_id"] != saga_id
    assert holdfast(platform, "saga", "list", "--state", "LOST").returncode == ExitCode.USAGE
    missing = holdfast(platform, "saga", "show", "00000000-0000-7000-8000-000000000000")
    assert (missing.returncode, missing.stdout) == (ExitCode.NOT_FOUND, "")
    table = holdfast(platform, "saga", "list")
    assert saga_id in table.stdout


def test_and_the_books_balance(platform: Platform) -> None:
    report = audit.run(Path(platform.info.data), WAIT_S)
    assert report.exit_code == 0, (report.quiet, [str(violation) for violation in report.violations])
