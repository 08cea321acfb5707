"""Every scripted fault over real HTTP: what the client sees, what the ledger holds, what a repeat gets."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from tests.eventually import eventually
from tests.integration.payment_provider.provider_process import ProviderProcess


@pytest.fixture
def saga() -> str:
    return uuid.uuid4().hex


def states(provider: ProviderProcess, saga: str) -> list[tuple[str, str]]:
    return [(row["kind"], row["status"]) for row in provider.prov("saga_id = ?", saga)]


def unanswered(request: Callable[[], httpx2.Response]) -> None:
    """The request got no byte of an answer."""
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
        request()


def test_a_timeout_before_the_effect(provider: ProviderProcess, saga: str) -> None:
    method = "pm_card_visa__timeout_before"
    unanswered(lambda: provider.charge(saga, saga_id=saga, payment_method=method))
    assert states(provider, saga) == []
    repeat = provider.charge(saga, saga_id=saga, payment_method=method)
    assert repeat.status_code == 200
    assert "idempotent-replayed" not in repeat.headers


def test_a_timeout_after_the_effect(provider: ProviderProcess, saga: str) -> None:
    method = "pm_card_visa__timeout_after"
    unanswered(lambda: provider.charge(saga, saga_id=saga, payment_method=method))
    assert states(provider, saga) == [("charge", "ok")]
    repeat = provider.charge(saga, saga_id=saga, payment_method=method)
    assert (repeat.status_code, repeat.headers["idempotent-replayed"]) == (200, "true")
    assert provider.search(saga) == [repeat.json()]
    assert states(provider, saga) == [("charge", "ok")]


def test_a_refund_can_be_lost_and_its_answer_too(provider: ProviderProcess, saga: str) -> None:
    method = "pm_card_visa__refund_timeout_before__refund_timeout_after"
    intent = provider.charge(saga_id=saga, payment_method=method).json()["id"]
    unanswered(lambda: provider.refund(intent, f"{saga}:undo"))
    assert states(provider, saga) == [("charge", "ok")]
    unanswered(lambda: provider.refund(intent, f"{saga}:undo"))
    assert states(provider, saga) == [("charge", "ok"), ("refund", "ok")]
    assert provider.refund(intent, f"{saga}:undo").headers["idempotent-replayed"] == "true"


def test_a_silent_provider_keeps_its_client_waiting(provider: ProviderProcess, saga: str) -> None:
    def impatient() -> httpx2.Response:
        return provider.client.post(
            "/v1/payment_intents",
            data={"amount": "1", "currency": "gbp", "confirm": "true", "metadata[saga_id]": saga,
                  "payment_method": "pm_card_visa__timeout_after_60000ms"},
            timeout=0.2,
        )  # fmt: skip

    with pytest.raises(httpx2.ReadTimeout):
        impatient()
    eventually(lambda: states(provider, saga) == [("charge", "ok")], "the effect")


def test_a_late_first_call_arrives_after_all(provider: ProviderProcess, saga: str) -> None:
    method = "pm_card_visa__late_300ms"
    unanswered(lambda: provider.charge(saga, saga_id=saga, payment_method=method))
    assert states(provider, saga) == []
    assert provider.search(saga) == []
    eventually(lambda: states(provider, saga) == [("charge", "ok")], "the late charge")
    # The charge stands in the ledger a moment before its key is free for a repeat, which is 409 until then.
    eventually(
        lambda: (
            provider.charge(saga, saga_id=saga, payment_method=method).headers.get("idempotent-replayed")
            == "true"
        ),
        "the late call's answer",
    )


def test_a_late_first_call_and_a_repeat_charge_once(provider: ProviderProcess, saga: str) -> None:
    method = "pm_card_visa__late_200ms"
    unanswered(lambda: provider.charge(saga, saga_id=saga, payment_method=method))
    repeat = provider.charge(saga, saga_id=saga, payment_method=method)
    assert "idempotent-replayed" not in repeat.headers
    # A call that comes 400 ms after the first one comes after the late one, too.
    unanswered(
        lambda: provider.charge(f"{saga}x", saga_id="other", payment_method="pm_card_visa__late_400ms")
    )
    eventually(lambda: provider.search("other") != [], "the later late call")
    assert states(provider, saga) == [("charge", "ok")]


def test_a_stored_error_is_repeated_for_ever(provider: ProviderProcess, saga: str) -> None:
    method = "pm_card_visa__error_stored"
    first, second = (provider.charge(saga, saga_id=saga, payment_method=method) for _ in range(2))
    assert first.status_code == second.status_code == 500
    assert second.headers["idempotent-replayed"] == "true"
    assert first.json()["error"]["type"] == "api_error"
    assert states(provider, saga) == []
    assert provider.search(saga) == []


def test_a_stored_error_may_have_had_its_effect(provider: ProviderProcess, saga: str) -> None:
    method = "pm_card_visa__error_stored_with_effect"
    first, second = (provider.charge(saga, saga_id=saga, payment_method=method) for _ in range(2))
    assert [first.status_code, second.status_code] == [500, 500]
    assert [intent["status"] for intent in provider.search(saga)] == ["succeeded"]
    assert states(provider, saga) == [("charge", "ok")]


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        ({"do": "error_heals", "status": 502}, 502, None),
        ({"do": "in_flight"}, 409, None),
        ({"do": "lock_timeout"}, 429, None),
        ({"do": "rate_limit", "retry_after_s": 2}, 429, "2"),
        ({"do": "unavailable", "retry_after_s": 3}, 503, "3"),
    ],
)
def test_what_passes_leaves_nothing(
    provider: ProviderProcess, saga: str, fault: dict[str, object], status: int, retry_after: str | None
) -> None:
    provider.rules({**fault, "operation": "charge", "times": 2})
    for _ in range(2):
        response = provider.charge(saga, saga_id=saga)
        assert response.status_code == status
        assert response.headers.get("retry-after") == retry_after
    assert states(provider, saga) == []
    healed = provider.charge(saga, saga_id=saga)
    assert healed.status_code == 200
    assert "idempotent-replayed" not in healed.headers


def test_an_outage_lasts_so_long_and_no_longer(provider: ProviderProcess, saga: str) -> None:
    provider.rules({"do": "unavailable", "operation": "charge", "for_ms": 300})
    assert provider.charge(saga, saga_id=saga).status_code == 503
    eventually(lambda: provider.charge(saga, saga_id=saga).status_code == 200, "the end of the outage")


def test_while_the_first_is_slow_the_second_conflicts(provider: ProviderProcess, saga: str) -> None:
    provider.rules({"do": "latency", "operation": "charge", "ms": 60_000, "times": 1})
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(
            lambda: httpx2.post(
                f"{provider.url}/v1/payment_intents",
                data={"amount": "1", "currency": "gbp", "payment_method": "pm_card_visa", "confirm": "true"},
                headers={"Authorization": provider.client.headers["Authorization"], "Idempotency-Key": saga},
                timeout=1,
            )
        )
        eventually(lambda: provider.get("/health")["in_flight"] == 1, "the slow call")
        conflict = provider.charge(saga, amount="1")
        assert (conflict.status_code, conflict.json()["error"]["code"]) == (409, "idempotency_key_in_use")
        with pytest.raises(httpx2.ReadTimeout):
            slow.result()


def test_latency_delays_an_answer(provider: ProviderProcess, saga: str) -> None:
    provider.rules({"do": "latency", "operation": "charge", "ms": 150, "jitter_ms": 50})
    response = provider.charge(saga)
    assert response.status_code == 200
    assert response.elapsed.total_seconds() >= 0.15


@pytest.mark.parametrize("code", ["charge_disputed", "refund_refused"])
def test_a_refund_can_be_refused_for_good(provider: ProviderProcess, saga: str, code: str) -> None:
    provider.rules({"do": "refuse", "operation": "refund", "code": code})
    intent = provider.charge(saga_id=saga).json()["id"]
    for key in (f"{saga}:undo", f"{saga}:undo", f"{saga}:other"):
        response = provider.refund(intent, key)
        assert (response.status_code, response.json()["error"]["code"]) == (400, code)
    assert states(provider, saga) == [("charge", "ok")]


@pytest.mark.parametrize(
    ("do", "ends", "stands"), [("succeed_later", "succeeded", "ok"), ("fail_later", "failed", "failed")]
)
def test_a_refund_can_be_pending(
    provider: ProviderProcess, saga: str, do: str, ends: str, stands: str
) -> None:
    intent = provider.charge(saga_id=saga, payment_method=f"pm_card_visa__refund_{do}_200ms").json()["id"]
    refund = provider.refund(intent, f"{saga}:undo").json()
    assert refund["status"] == "pending"
    assert states(provider, saga)[1] == ("refund", "pending")
    eventually(lambda: provider.get(f"/v1/refunds/{refund['id']}")["status"] == ends, "the refund's end")
    assert states(provider, saga)[1] == ("refund", stands)


@pytest.mark.parametrize(
    ("do", "ends", "stands"),
    [("succeed_later", "succeeded", "ok"), ("fail_later", "requires_payment_method", "declined")],
)
def test_a_charge_can_be_processing(
    provider: ProviderProcess, saga: str, do: str, ends: str, stands: str
) -> None:
    method = f"pm_card_visa__{do}_200ms"
    intent = provider.charge(saga, saga_id=saga, payment_method=method).json()
    assert intent["status"] == "processing"
    assert states(provider, saga) == [("charge", "pending")]
    eventually(lambda: provider.search(saga)[0]["status"] == ends, "the charge's end")
    assert states(provider, saga) == [("charge", stands)]
    # As at Stripe, the key repeats the first answer: only a look-up tells the end.
    assert provider.charge(saga, saga_id=saga, payment_method=method).json()["status"] == "processing"


def test_a_look_up_can_be_blind_slow_and_broken(provider: ProviderProcess, saga: str) -> None:
    intent = provider.charge(saga_id=saga).json()["id"]
    provider.rules(
        {"do": "blind", "operation": "lookup", "times": 3},
        {"do": "timeout_before", "operation": "lookup", "times": 1},
        {"do": "error_heals", "operation": "lookup", "times": 1},
        {"do": "latency", "operation": "lookup", "ms": 1, "times": 1},
    )
    assert provider.search(saga) == []
    assert provider.client.get(f"/v1/payment_intents/{intent}").status_code == 404
    assert provider.get("/v1/charges")["data"] == []
    unanswered(lambda: provider.client.get("/v1/charges"))
    assert provider.client.get("/v1/charges").status_code == 500
    assert len(provider.search(saga)) == 1
    assert [rule["played"] for rule in provider.get("/admin/behaviour")["rules"]] == [3, 1, 1, 1]


def test_a_payments_metadata_can_script_it_too(provider: ProviderProcess, saga: str) -> None:
    script = "error_heals_x2 refund_in_flight lookup_blind"
    answers = [provider.charge(saga, saga_id=saga, behaviour=script) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [500, 500, 200]
    intent = answers[2].json()
    assert provider.refund(intent["id"], f"{saga}:undo").status_code == 409
    assert provider.refund(intent["id"], f"{saga}:undo").status_code == 200
    assert [len(provider.search(saga)) for _ in range(2)] == [0, 1]
    assert intent["metadata"] == {"saga_id": saga, "behaviour": script}


def test_a_declining_card_can_be_scripted_too(provider: ProviderProcess, saga: str) -> None:
    method = "pm_card_chargeDeclined__timeout_after"
    unanswered(lambda: provider.charge(saga, saga_id=saga, payment_method=method))
    assert provider.charge(saga, saga_id=saga, payment_method=method).status_code == 402
    assert states(provider, saga) == [("charge", "declined")]


def test_a_share_of_keys_misbehaves_once_each(provider: ProviderProcess, saga: str) -> None:
    provider.rules({"do": "error_heals", "operation": "charge", "share": 0.3, "seed": 11, "per_key": 1})
    first = [provider.charge(f"share-{n}").status_code for n in range(40)]
    assert 4 <= first.count(500) <= 20
    assert {provider.charge(f"share-{n}").status_code for n in range(40)} == {200}
    provider.rules({"do": "error_heals", "operation": "charge", "share": 0.3, "seed": 11, "per_key": 1})
    assert [provider.charge(f"share-{n}").status_code for n in range(40)] == first
