"""The endpoints over real HTTP: shapes, keys, errors, lists, health."""

import base64
import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from tests.integration.payment_provider.provider_process import GOOD, KEY, ProviderProcess


@pytest.fixture
def saga() -> str:
    return uuid.uuid4().hex


def test_a_charge_and_its_look_ups(provider: ProviderProcess, saga: str) -> None:
    response = provider.charge(f"{saga}:payment:do", saga_id=saga)
    intent = response.json()
    assert (response.status_code, intent["status"]) == (200, "succeeded")
    assert response.headers["content-type"] == "application/json"
    assert "idempotent-replayed" not in response.headers
    assert intent["id"].startswith("pi_")
    assert provider.get(f"/v1/payment_intents/{intent['id']}") == intent
    assert provider.search(saga) == [intent]
    charge = provider.get(f"/v1/charges/{intent['latest_charge']}")
    assert (charge["payment_intent"], charge["amount"], charge["status"]) == (intent["id"], 1000, "succeeded")
    assert provider.prov("saga_id = ?", saga) == [
        {
            "ref": charge["id"],
            "idem_key": f"{saga}:payment:do",
            "saga_id": saga,
            "kind": "charge",
            "amount": 1000,
            "ccy": "GBP",
            "status": "ok",
        }
    ]


def test_a_decline_is_a_402_that_the_key_repeats(provider: ProviderProcess, saga: str) -> None:
    first = provider.charge(saga, saga_id=saga, payment_method="pm_card_chargeDeclinedInsufficientFunds")
    second = provider.charge(saga, saga_id=saga, payment_method="pm_card_chargeDeclinedInsufficientFunds")
    error = first.json()["error"]
    assert first.status_code == second.status_code == 402
    assert (error["type"], error["code"], error["decline_code"]) == (
        "card_error",
        "card_declined",
        "insufficient_funds",
    )
    assert second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert [row["status"] for row in provider.prov("saga_id = ?", saga)] == ["declined"]


def test_a_repeat_is_answered_from_the_key(provider: ProviderProcess, saga: str) -> None:
    first, second = (provider.charge(saga, saga_id=saga) for _ in range(2))
    assert second.content == first.content
    assert second.headers["idempotent-replayed"] == "true"
    assert len(provider.prov("saga_id = ?", saga)) == 1


def test_a_hundred_at_once_with_one_key_charge_once(provider: ProviderProcess, saga: str) -> None:
    def until_answered(_: int) -> tuple[str, int]:
        conflicts = 0
        while (response := provider.charge(saga, saga_id=saga)).status_code == 409:
            assert response.json()["error"]["code"] == "idempotency_key_in_use"
            conflicts += 1
        assert response.status_code == 200
        return response.json()["id"], conflicts

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(until_answered, range(100)))
    assert len({intent for intent, _ in answers}) == 1
    assert len(provider.prov("saga_id = ?", saga)) == 1


def test_the_key_with_other_parameters_is_refused(provider: ProviderProcess, saga: str) -> None:
    intent = provider.charge(saga, saga_id=saga).json()
    for response in (provider.charge(saga, saga_id=saga, amount="2"), provider.refund(intent["id"], saga)):
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "idempotency_error"
    assert len(provider.prov("saga_id = ?", saga)) == 1


def test_what_fails_validation_leaves_the_key_free(provider: ProviderProcess, saga: str) -> None:
    bad = provider.charge(saga, saga_id=saga, payment_method="pm_card_unheard")
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, "resource_missing")
    assert bad.json()["error"]["type"] == "invalid_request_error"
    assert provider.charge(saga, saga_id=saga).status_code == 200


@pytest.mark.parametrize(
    "authorization", ["", "Bearer wrong", "Bearer", "Basic !!!", f"Digest {KEY}", "Bearer sk_tést"]
)
def test_without_the_key_nobody_gets_in(provider: ProviderProcess, saga: str, authorization: str) -> None:
    headers = [(b"Idempotency-Key", saga.encode()), (b"Authorization", authorization.encode())]
    for method, path in (
        ("POST", "/v1/payment_intents"),
        ("GET", "/v1/charges"),
        ("PUT", "/admin/behaviour"),
    ):
        response = httpx2.request(method, provider.url + path, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert "wrong" not in response.text
    assert provider.charge(saga, saga_id=saga).status_code == 200


def test_the_key_may_come_as_basic_authentication(provider: ProviderProcess) -> None:
    credentials = base64.b64encode(f"{KEY}:".encode()).decode()
    response = httpx2.get(f"{provider.url}/v1/charges", headers={"Authorization": f"Basic {credentials}"})
    assert response.status_code == 200


def test_a_refund_and_its_look_ups(provider: ProviderProcess, saga: str) -> None:
    intent = provider.charge(f"{saga}:do", saga_id=saga).json()
    response = provider.refund(intent["id"], f"{saga}:undo", amount="1000", **{"metadata[saga_id]": saga})
    refund = response.json()
    assert (response.status_code, refund["status"], refund["amount"]) == (200, "succeeded", 1000)
    assert provider.get(f"/v1/refunds/{refund['id']}") == refund
    assert provider.get("/v1/refunds", payment_intent=intent["id"])["data"] == [refund]
    assert (
        provider.refund(intent["id"], f"{saga}:undo", amount="1000", **{"metadata[saga_id]": saga}).json()
        == refund
    )
    again = provider.refund(intent["id"], f"{saga}:undo-2")
    assert (again.status_code, again.json()["error"]["code"]) == (400, "charge_already_refunded")
    assert [(row["kind"], row["status"], row["amount"]) for row in provider.prov("saga_id = ?", saga)] == [
        ("charge", "ok", 1000),
        ("refund", "ok", 1000),
    ]


def test_a_refund_can_name_the_charge(provider: ProviderProcess, saga: str) -> None:
    intent = provider.charge(saga_id=saga).json()
    response = provider.post("/v1/refunds", None, {"charge": intent["latest_charge"], "amount": "1"})
    assert response.json()["payment_intent"] == intent["id"]


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"payment_intent": "pi_nobody"},
        {"charge": "ch_nobody"},
        {"payment_intent": "pi_a", "charge": "ch_b"},
        {"payment_intent": "pi_nobody", "amout": "1"},
    ],
)
def test_a_refund_of_nothing_is_refused(provider: ProviderProcess, form: dict[str, str]) -> None:
    response = provider.post("/v1/refunds", "nothing", form)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")


def test_two_refunds_at_once_never_exceed_the_charge(provider: ProviderProcess, saga: str) -> None:
    intent = provider.charge(saga_id=saga).json()
    with ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(lambda n: provider.refund(intent["id"], f"{saga}{n}", amount="300"), range(10))
        )
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [400] * 7
    assert sum(row["amount"] for row in provider.prov("saga_id = ? and kind = 'refund'", saga)) == 900


def test_an_unpaid_intent_can_be_canceled(provider: ProviderProcess, saga: str) -> None:
    declined = provider.charge(saga_id=saga, payment_method="pm_card_chargeDeclined").json()
    path = f"/v1/payment_intents/{declined['error']['payment_intent']['id']}"
    canceled = provider.post(f"{path}/cancel", saga, {"cancellation_reason": "abandoned"})
    assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
    assert provider.get(path)["status"] == "canceled"
    again = provider.post(f"{path}/cancel", saga, {"cancellation_reason": "abandoned"})
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("kind", ["charges", "refunds"])
def test_a_settlement_pages_through_everything(provider: ProviderProcess, saga: str, kind: str) -> None:
    made = []
    for _ in range(7):
        intent = provider.charge(saga_id=saga).json()
        made.append(
            intent["latest_charge"] if kind == "charges" else provider.refund(intent["id"]).json()["id"]
        )
    seen: list[str] = []
    more: dict[str, str] = {}
    while True:
        page = provider.get(f"/v1/{kind}", limit=3, **more)
        assert page["object"] == "list"
        seen += [item["id"] for item in page["data"]]
        if not page["has_more"]:
            break
        assert len(page["data"]) == 3
        more = {"starting_after": seen[-1]}
    assert seen[:7] == made[::-1]
    assert len(seen) == len(set(seen)) == len(provider.prov("kind = ?", kind[:-1]))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/payment_intents/pi_nobody", 404),
        ("/v1/charges/ch_nobody", 404),
        ("/v1/refunds/re_nobody", 404),
        ("/v1/charges?starting_after=ch_nobody", 400),
        ("/v1/charges?limit=0", 400),
        ("/v1/charges?limt=1", 400),
        ("/v1/payment_intents/search?query=status", 400),
        ("/v1/nothing", 404),
    ],
)
def test_errors_have_stripes_shape(provider: ProviderProcess, path: str, status: int) -> None:
    response = provider.client.get(path)
    assert response.status_code == status
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_an_id_of_another_kind_is_not_found(provider: ProviderProcess) -> None:
    intent = provider.charge().json()
    assert provider.client.get(f"/v1/refunds/{intent['id']}").status_code == 404
    assert provider.client.get(f"/v1/charges?starting_after={intent['id']}").status_code == 400


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_without_end_is_refused(provider: ProviderProcess, declared: bool) -> None:
    body = b"description=" + b"x" * 100_000
    content = body if declared else iter([body[:50_000], body[50_000:]])
    response = provider.client.post("/v1/payment_intents", content=content)
    assert response.status_code == 413


def test_a_wrong_method_is_refused(provider: ProviderProcess) -> None:
    assert provider.client.delete("/v1/charges").status_code == 405


def test_health(provider: ProviderProcess) -> None:
    provider.rules({"do": "unavailable", "operation": "refund"})
    bare = httpx2.Client(base_url=provider.url)
    assert bare.get("/livez").json() == {"status": "ok"}
    ready = bare.get("/readyz")
    checks = {"ledger_writer": True, "webhooks": True, "serving": True}
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "checks": checks})
    health = bare.get("/health").json()
    assert health == {
        "service": "payment-provider",
        "status": "ok",
        "checks": checks,
        "in_flight": 0,
        "rules": 1,
    }
    bare.close()


def sample(provider: ProviderProcess, series: str) -> float:
    """The value of one series; it is there from the start."""
    lines = httpx2.get(f"{provider.url}/metrics").text.splitlines()
    (found,) = [line for line in lines if line.startswith(f"{series} ")]
    return float(found.rsplit(" ", 1)[1])


def test_metrics_count_what_happened(provider: ProviderProcess) -> None:
    series = {
        'provider_requests_total{operation="charge",outcome="declined"}': 1.0,
        'provider_requests_total{operation="refund",outcome="refused"}': 1.0,
        'provider_requests_total{operation="lookup",outcome="ok"}': 1.0,
        'provider_requests_total{operation="charge",outcome="limited"}': 1.0,
        'provider_behaviour_played_total{do="rate_limit"}': 1.0,
        "provider_commit_batch_sum": 1.0,
        'provider_webhooks_total{outcome="delivered"}': 0.0,
    }
    before = {name: sample(provider, name) for name in series}
    provider.charge(payment_method="pm_card_chargeDeclined")
    provider.refund("pi_nobody")
    provider.get("/v1/charges")
    provider.charge(payment_method="pm_card_visa__rate_limit")
    assert {name: sample(provider, name) - before[name] for name in series} == series


def test_the_api_describes_its_own_part(provider: ProviderProcess) -> None:
    assert "/admin/behaviour" in provider.get("/openapi.json")["paths"]


def test_rules_are_set_shown_and_cleared(provider: ProviderProcess) -> None:
    rule = {
        "do": "late",
        "operation": "charge",
        "ms": 9,
        "share": 0.5,
        "seed": 3,
        "payment_method": "pm_card_amex",
    }
    provider.rules(rule)
    (shown,) = provider.get("/admin/behaviour")["rules"]
    assert shown.items() >= {**rule, "played": 0, "times": None, "per_key": None, "hold_ms": 0}.items()
    assert provider.client.delete("/admin/behaviour").json()["rules"] == [shown]
    assert provider.get("/admin/behaviour")["rules"] == []


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "{}",
        '{"rules": [{"do": "dance", "operation": "charge"}]}',
        '{"rules": [{"do": "blind", "operation": "charge"}]}',
        '{"rules": [], "more": 1}',
    ],
)
def test_bad_rules_are_refused_and_change_nothing(provider: ProviderProcess, body: str) -> None:
    provider.rules({"do": "in_flight", "operation": "charge", "times": 1})
    response = provider.client.put(
        "/admin/behaviour", content=body, headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert len(provider.get("/admin/behaviour")["rules"]) == 1


def test_every_good_field_is_listed(provider: ProviderProcess) -> None:
    """The helper's form is the smallest one that charges."""
    for field in GOOD:
        form = {name: value for name, value in GOOD.items() if name != field}
        assert provider.post("/v1/payment_intents", None, form).json()["error"]["param"] == field


def test_answers_are_compact_json(provider: ProviderProcess) -> None:
    text = provider.charge().text
    assert text == json.dumps(json.loads(text), separators=(",", ":"))
