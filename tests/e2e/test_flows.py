"""The happy path and all four refusals, through the public API, on both real buses; then the books."""

import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx2
from tests.e2e.shopper import Operator, Shopper
from tests.e2e.topics import types_on_the_bus
from tests.eventually import eventually

from holdfast import audit
from holdfast.contracts.topics import CART, INVENTORY, ORCHESTRATOR, PAYLOADS, SERVICES, TOPICS
from holdfast.local.platform import Platform
from holdfast.sagas.checkout import CHECKOUT


def test_a_cart_becomes_a_paid_order(shopper: Shopper, operator: Operator) -> None:
    before = operator.on_hand("pen")
    ended = shopper.end_of(shopper.buy({"pen": 2, "ink": 1}))
    assert ended["state"] == "COMPLETED"
    assert ended["order_id"]
    assert [step["name"] for step in ended["steps"]] == ["inventory", "payment", "order", "cart"]
    eventually(lambda: operator.on_hand("pen")["sold"] == before["sold"] + 2, "the reservation is sold")


def test_every_service_says_how_it_is_on_its_own_port(platform: Platform) -> None:
    for name in SERVICES:
        url = platform.info.services[name].ops_url
        asked = [
            httpx2.get(f"{url}/{path}", trust_env=False, timeout=60)
            for path in ("livez", "readyz", "health", "metrics")
        ]
        live, ready, health, metrics = asked
        assert [each.status_code for each in asked] == [200] * 4, name
        assert live.json() == ready.json() == {"ok": True, "reasons": []}
        said = health.json()
        assert (said["ok"], said["service"]) == (True, name)
        assert {"writer", "relay"} <= set(said["loops"])
        assert set(said["loops"].values()) == {"well"}
        assert 'messages_total{result="handled"}' in metrics.text
        assert 'http_server_request_duration_seconds_count{method="GET",route="/livez"' in metrics.text


def test_out_of_stock(shopper: Shopper, operator: Operator) -> None:
    ended = shopper.end_of(shopper.buy({"gem": 11}))
    assert (ended["state"], ended["reason"]) == ("FAILED", "out_of_stock")
    assert "not charged" in ended["message"]
    assert operator.on_hand("gem")["on_hand"] == 10


def test_declined_card(shopper: Shopper, operator: Operator) -> None:
    ended = shopper.end_of(shopper.buy({"gem": 1}, card="pm_card_chargeDeclined"))
    assert (ended["state"], ended["reason"]) == ("FAILED", "payment_declined")
    assert "not charged" in ended["message"]
    assert operator.on_hand("gem")["on_hand"] == 10


def test_an_order_above_the_limit_is_refunded(shopper: Shopper, operator: Operator) -> None:
    before = operator.on_hand("pen")
    ended = shopper.end_of(shopper.buy({"pen": 4001}))
    assert (ended["state"], ended["reason"]) == ("FAILED", "order_total_above_limit")
    assert ended["money_held"] is False
    assert operator.on_hand("pen")["reserved"] == 0
    assert operator.on_hand("pen")["on_hand"] == before["on_hand"]


def test_a_held_cart_undoes_everything(platform: Platform, shopper: Shopper, operator: Operator) -> None:
    cart_id = f"cart-{uuid4().hex[:12]}"
    shopper.fill(cart_id, {"gem": 2})
    _holdfast(platform, "cart", "hold", cart_id, "--reason", "fraud check")
    ended = shopper.end_of(str(shopper.post(cart_id).json()["saga_id"]))
    assert (ended["state"], ended["reason"]) == ("FAILED", "cart_on_hold")
    assert operator.on_hand("gem")["on_hand"] == 10
    assert shopper.cart(cart_id)["lines"][0]["quantity"] == 2
    _holdfast(platform, "cart", "release", cart_id, "--reason", "cleared up")
    assert shopper.end_of(str(shopper.post(cart_id).json()["saga_id"]))["state"] == "COMPLETED"


def test_two_users_with_the_same_cart_id_each_buy_their_own(platform: Platform, shopper: Shopper) -> None:
    cart_id, eve = f"cart-{uuid4().hex[:12]}", Shopper(platform.info, "eve")
    shopper.fill(cart_id, {"pen": 3})
    eve.fill(cart_id, {"ink": 5})
    ada_saga = str(shopper.post(cart_id).json()["saga_id"])
    eve_saga = str(eve.post(cart_id).json()["saga_id"])
    assert shopper.end_of(ada_saga)["total_minor"] == 3 * 250
    assert shopper.cart(cart_id)["lines"] == []
    assert eve.end_of(eve_saga)["total_minor"] == 5 * 250
    assert eve.cart(cart_id)["lines"] == []
    assert shopper.client.get(f"/v1/checkouts/{eve_saga}").status_code == 404


def test_a_step_that_hears_nothing_asks(platform: Platform, shopper: Shopper) -> None:
    """While cart-crud is frozen, the three others hold their steps and ask how it ended."""
    cart_id = f"cart-{uuid4().hex[:12]}"
    shopper.fill(cart_id, {"pen": 1})
    platform.kill(INVENTORY, signal.SIGSTOP)
    response = shopper.post(cart_id)  # while cart-crud still gives snapshots
    platform.kill(CART, signal.SIGSTOP)
    platform.kill(INVENTORY, signal.SIGCONT)
    try:
        saga_id = str(response.json()["saga_id"])
        eventually(lambda: "OutcomeRequested" in types_on_the_bus(platform), "somebody asks")
    finally:
        platform.kill(CART, signal.SIGCONT)
    assert shopper.end_of(saga_id)["state"] == "COMPLETED"


def test_everything_was_seen_and_run(platform: Platform, shopper: Shopper) -> None:
    """Every message of the contracts was on the bus, every reaction of the saga ran, the books balance."""
    assert (
        types_on_the_bus(platform) == set(PAYLOADS) == {t for topic in TOPICS.values() for t in topic.types}
    )
    ran = _reactions(platform)
    assert set(CHECKOUT.reaction_names.values()) <= ran
    report = audit.run(Path(platform.info.data), 60)
    assert report.exit_code == 0, [str(violation) for violation in report.violations]


def _holdfast(platform: Platform, *arguments: str) -> None:
    command = [sys.executable, "-m", "holdfast.cli.main", *arguments, "--data", platform.info.data]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _reactions(platform: Platform) -> set[str]:
    text = httpx2.get(f"{platform.info.services[ORCHESTRATOR].ops_url}/metrics", trust_env=False).text
    lines = [line for line in text.splitlines() if line.startswith("checkout_saga_reactions_total{")]
    return {line.split('"')[1] for line in lines}
