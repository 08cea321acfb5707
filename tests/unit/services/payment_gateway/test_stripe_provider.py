"""The provider's answers over HTTP: what is definitive, what is unknown; nothing it says can hurt."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.samples import SAGA, saga_id

from holdfast.messaging.keyed_breaker import KeyedSettings
from holdfast.runtime.http_client import ConnectionFailed, HttpClient, Response
from holdfast.services.payment_gateway.domain import (
    Declined,
    NotSent,
    Payment,
    ProviderCall,
    ProviderRequest,
    ProviderResult,
    Succeeded,
    Unknown,
)
from holdfast.services.payment_gateway.settlement import ListedCharge, ProviderSilent
from holdfast.services.payment_gateway.stripe_provider import (
    StripeProvider,
    intent_answer,
    provider_breaker,
    refund_answer,
)

Respond = Callable[[httpx2.Request], httpx2.Response]
PAYMENT = Payment(SAGA, "ada", "pm_card_visa", 3564, "GBP", charge_id="pi_1")


class Stub:
    """The other side: answers by `respond` and keeps what it was sent."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []
        self.respond: Respond = lambda _: httpx2.Response(200, json={"id": "pi_1", "status": "succeeded"})

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self.respond(request)

    def answers(self, status: int, body: Any, **headers: str) -> None:
        self.respond = lambda _: httpx2.Response(status, json=body, headers=headers)


class StubClient(HttpClient):
    """The client, with the other side in place of the network."""

    def __init__(self, stub: Stub) -> None:
        super().__init__("http://provider.test")
        self._stub = stub

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float = 10.0,
    ) -> Response:
        request = httpx2.Request(
            method, f"http://provider.test{path}", headers=dict(headers or {}), content=body
        )
        try:
            answer = self._stub(request)
        except httpx2.TransportError as error:
            raise ConnectionFailed(str(error)) from error
        return Response(answer.status_code, dict(answer.headers), answer.content)


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def provider(stub: Stub) -> Iterator[StripeProvider]:
    provider = StripeProvider("http://provider.test", "sk_test", 5.0)
    provider._client = StubClient(stub)
    yield provider
    provider.close()


def ask(provider: StripeProvider, what: ProviderRequest, payment: Payment = PAYMENT) -> ProviderResult:
    [answer] = provider.call([ProviderCall(what, payment, 1)])
    return answer


def fail_all(provider: StripeProvider, stub: Stub, what: ProviderRequest, status: int = 503) -> None:
    """Ask for one payment after the other, all of which fail, until the breaker opens."""
    stub.answers(status, {})
    for number in range(KeyedSettings.failures_max):
        other = PAYMENT._replace(saga_id=saga_id(number), charge_id=f"pi_{number}")
        assert ask(provider, what, other) == Unknown(f"http_{status}")


def test_a_charge_carries_its_stable_key_and_the_saga_in_its_metadata(
    provider: StripeProvider, stub: Stub
) -> None:
    assert ask(provider, ProviderRequest.CHARGE) == Succeeded("pi_1")
    [request] = stub.requests
    assert (request.method, request.url.path) == ("POST", "/v1/payment_intents")
    assert request.headers["Idempotency-Key"] == f"{SAGA}:payment:do"
    assert parse_qs(request.content.decode()) == {
        "amount": ["3564"],
        "currency": ["gbp"],
        "payment_method": ["pm_card_visa"],
        "confirm": ["true"],
        "metadata[saga_id]": [SAGA],
    }


def test_a_refund_has_a_key_of_its_own(provider: StripeProvider, stub: Stub) -> None:
    stub.answers(200, {"id": "re_1", "status": "succeeded"})
    assert ask(provider, ProviderRequest.REFUND) == Succeeded("re_1")
    [request] = stub.requests
    assert request.url.path == "/v1/refunds"
    assert request.headers["Idempotency-Key"] == f"{SAGA}:payment:undo"
    form = parse_qs(request.content.decode())
    assert (form["payment_intent"], form["amount"]) == (["pi_1"], ["3564"])


CARD = {"error": {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds"}}
INVALID = {"error": {"type": "invalid_request_error", "code": "amount_too_small"}}
ANSWERS: list[tuple[int, Any, ProviderResult]] = [
    (402, CARD, Declined("insufficient_funds", "")),
    (402, {"error": {"type": "card_error"}}, Declined("card_declined", "")),
    (402, {"error": {"type": "api_error"}}, Unknown("http_402")),
    (400, INVALID, Declined("amount_too_small", "")),
    (404, INVALID, Declined("amount_too_small", "")),
    (400, {"error": {"type": "idempotency_error"}}, Unknown("http_400")),
    (401, INVALID, Unknown("http_401")),
    (409, {"error": {"type": "idempotency_error"}}, Unknown("http_409")),
    (429, {}, Unknown("http_429")),
    (500, CARD, Unknown("http_500")),
    (503, None, Unknown("http_503")),
    (302, {}, Unknown("http_302")),
    (200, {"id": "pi_1", "status": "canceled"}, Declined("canceled", "the payment was canceled")),
    (200, {"id": "pi_1", "status": "processing"}, Unknown("status_processing")),
    (200, {"id": "pi_1", "status": "requires_action"}, Unknown("status_requires_action")),
    (200, {"id": "pi_1", "status": "requires_payment_method"}, Declined("declined", "")),
    (200, {"id": "", "status": "succeeded"}, Unknown("malformed_answer")),
    (200, {"status": "succeeded"}, Unknown("malformed_answer")),
    (200, {"id": 7, "status": "succeeded"}, Unknown("malformed_answer")),
    (200, {"id": "pi_\x00", "status": "succeeded"}, Unknown("malformed_answer")),
    (200, {"id": "x" * 201, "status": "succeeded"}, Unknown("malformed_answer")),
    (200, {"status": {"nested": []}}, Unknown("status_")),
    (200, [], Unknown("status_")),
    (200, None, Unknown("status_")),
    (402, {"error": "a word"}, Unknown("http_402")),
    (402, {"error": {"type": "card_error", "code": ["odd"]}}, Declined("card_declined", "")),
    (402, {"error": {"type": "card_error", "code": "a\x00b " + "c" * 99}}, Declined("ab" + "c" * 62, "")),
]


@pytest.mark.parametrize(("status", "body", "expected"), ANSWERS, ids=str)
def test_line_16_only_these_answers_to_a_charge_are_definitive(
    provider: StripeProvider, stub: Stub, status: int, body: Any, expected: ProviderResult
) -> None:
    stub.answers(status, body)
    assert ask(provider, ProviderRequest.CHARGE) == expected


@pytest.mark.parametrize(
    ("header", "wait_ms"),
    [("7", 7_000), ("99999", 99_999_000), *((word, 0) for word in ("0", "", "soon", "-3", "1.5", "999999"))],
)
def test_retry_after_is_heeded_where_it_is_a_number(
    provider: StripeProvider, stub: Stub, header: str, wait_ms: int
) -> None:
    stub.answers(429, {}, **{"Retry-After": header})
    assert ask(provider, ProviderRequest.CHARGE) == Unknown("http_429", wait_ms)


@pytest.mark.parametrize("what", ProviderRequest)
def test_line_16_a_lost_connection_a_time_out_and_bytes_that_are_no_json_are_unknown(
    provider: StripeProvider, stub: Stub, what: ProviderRequest
) -> None:
    def fail(error: type[httpx2.TransportError]) -> Respond:
        def respond(request: httpx2.Request) -> httpx2.Response:
            raise error("as scripted", request=request)

        return respond

    for error in (httpx2.ConnectError, httpx2.ReadError, httpx2.ReadTimeout, httpx2.RemoteProtocolError):
        stub.respond = fail(error)
        assert ask(provider, what) == Unknown("connection_lost")
    for content in (b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b'{"status":'):
        stub.respond = lambda _, content=content: httpx2.Response(200, content=content)  # type: ignore[misc]
        assert isinstance(ask(provider, what), Unknown)


def test_one_slow_call_does_not_take_the_others_answers(provider: StripeProvider, stub: Stub) -> None:
    def respond(request: httpx2.Request) -> httpx2.Response:
        if request.headers["Idempotency-Key"].startswith("slow"):
            raise httpx2.ReadTimeout("as scripted", request=request)
        return httpx2.Response(200, json={"id": "pi_1", "status": "succeeded"})

    stub.respond = respond
    sagas = ["a", "slow", "b"]
    answers = provider.call(
        [ProviderCall(ProviderRequest.CHARGE, PAYMENT._replace(saga_id=saga), 1) for saga in sagas]
    )
    assert answers == [Succeeded("pi_1"), Unknown("connection_lost"), Succeeded("pi_1")]


SUCCEEDED = {"id": "pi_9", "status": "succeeded"}
PROCESSING = {"id": "pi_8", "status": "processing"}
CANCELED = {"id": "pi_7", "status": "canceled"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([], Unknown("not_found")),
        ([SUCCEEDED], Succeeded("pi_9")),
        ([CANCELED, SUCCEEDED], Succeeded("pi_9")),
        ([CANCELED, PROCESSING], Unknown("status_processing")),
        ([CANCELED], Declined("canceled", "the payment was canceled")),
        ("nonsense", Unknown("not_found")),
        ([None, 3], Unknown("status_")),
    ],
    ids=str,
)
def test_line_17_a_charge_is_looked_up_by_the_saga_and_money_that_moved_wins(
    provider: StripeProvider, stub: Stub, data: Any, expected: ProviderResult
) -> None:
    stub.answers(200, {"data": data})
    assert ask(provider, ProviderRequest.FIND_CHARGE) == expected
    assert stub.requests[0].url.path == "/v1/payment_intents/search"
    assert stub.requests[0].url.params["query"] == f"metadata['saga_id']:'{SAGA}'"
    stub.answers(500, {})
    assert ask(provider, ProviderRequest.FIND_CHARGE) == Unknown("http_500")
    stub.answers(404, INVALID)
    assert ask(provider, ProviderRequest.FIND_CHARGE) == Unknown("http_404"), "a look-up refuses no charge"


BACK = {"id": "re_1", "status": "succeeded", "amount": PAYMENT.amount_minor}
PARTIAL = Declined("refund_partial", "100 of 3564 minor units were refunded")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([], Unknown("not_found")),
        ([{"id": "re_1", "status": "failed"}], Declined("refund_failed", "")),
        ([{"id": "re_1", "status": "pending"}], Unknown("status_pending")),
        ([{"id": "re_1", "status": "failed"}, {**BACK, "id": "re_2"}], Succeeded("re_2")),
        ([{**BACK, "amount": 100}], PARTIAL),
        ([{**BACK, "amount": 100}, {"id": "re_2", "status": "failed", "amount": 3464}], PARTIAL),
        ([{**BACK, "amount": 100}, {"id": "re_2", "status": "pending"}], Unknown("status_pending")),
        ([{**BACK, "amount": 100}, {**BACK, "id": "re_2", "amount": 3464}], Succeeded("re_1")),
        ([{**BACK, "amount": "3564"}], Declined("refund_partial", "0 of 3564 minor units were refunded")),
    ],
    ids=str,
)
def test_refunds_are_looked_up_by_their_charge_and_must_bring_back_all_that_is_owed(
    provider: StripeProvider, stub: Stub, data: Any, expected: ProviderResult
) -> None:
    stub.answers(200, {"data": data})
    assert ask(provider, ProviderRequest.FIND_REFUND) == expected
    assert stub.requests[0].url.params["payment_intent"] == "pi_1"


def test_a_charge_that_is_refunded_already_is_looked_up_for_its_refund(
    provider: StripeProvider, stub: Stub
) -> None:
    already = {"error": {"type": "invalid_request_error", "code": "charge_already_refunded"}}
    found = {"data": [BACK]}
    stub.respond = lambda request: (
        httpx2.Response(400, json=already) if request.method == "POST" else httpx2.Response(200, json=found)
    )
    assert ask(provider, ProviderRequest.REFUND) == Succeeded("re_1")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
STATUSES = st.sampled_from(["succeeded", "failed", "canceled", "requires_payment_method", "pending"])


@given(
    st.fixed_dictionaries({}, optional={"status": STATUSES | JSON, "id": JSON, "last_payment_error": JSON})
)
def test_no_document_raises_and_every_word_of_an_answer_can_be_stored(document: dict[str, Any]) -> None:
    for answer in (intent_answer(document), refund_answer(document)):
        match answer:
            case Succeeded(reference):
                assert 1 <= len(reference) <= 200
                assert reference.isascii()
                assert reference.isprintable()
            case Declined(code, _):
                assert 1 <= len(code) <= 64
            case Unknown(error):
                assert len(error) <= 100
                assert error.isprintable()


def test_the_breaker_opens_on_failures_of_the_provider_and_then_no_call_is_made(
    provider: StripeProvider, stub: Stub
) -> None:
    fail_all(provider, stub, ProviderRequest.CHARGE)
    made = len(stub.requests)
    held = ask(provider, ProviderRequest.CHARGE)
    assert isinstance(held, NotSent)
    assert held.retry_after_ms > 0
    assert len(stub.requests) == made


def test_look_ups_that_fail_keep_nobody_from_paying(provider: StripeProvider, stub: Stub) -> None:
    fail_all(provider, stub, ProviderRequest.FIND_CHARGE)
    assert isinstance(ask(provider, ProviderRequest.FIND_REFUND), NotSent)
    stub.answers(200, {"id": "pi_1", "status": "succeeded"})
    assert ask(provider, ProviderRequest.CHARGE) == Succeeded("pi_1")


@pytest.mark.parametrize(
    ("status", "headers"),
    [(402, {}), (429, {"retry-after": "7"}), (409, {}), (400, {}), (500, {"idempotent-replayed": "true"})],
    ids=str,
)
def test_refusals_and_repeats_never_open_the_breaker(
    provider: StripeProvider, stub: Stub, status: int, headers: dict[str, str]
) -> None:
    stub.answers(status, {"error": {"type": "card_error"}}, **headers)
    for _ in range(50):
        ask(provider, ProviderRequest.CHARGE)
    assert provider.breaker.state == "closed"


def test_a_failure_that_the_provider_repeats_from_memory_says_so(
    provider: StripeProvider, stub: Stub
) -> None:
    stub.answers(500, {}, **{"idempotent-replayed": "true"})
    assert ask(provider, ProviderRequest.CHARGE) == Unknown("stored_http_500")


def test_a_stored_failure_does_not_keep_the_breaker_open(provider: StripeProvider, stub: Stub) -> None:
    clock = [100.0]
    provider.breaker = provider_breaker(lambda: clock[0])
    fail_all(provider, stub, ProviderRequest.CHARGE, 500)
    assert provider.breaker.state == "open"
    clock[0] += 60
    stub.answers(500, {}, **{"idempotent-replayed": "true"})
    for number in range(100, 100 + KeyedSettings.successes):
        probe = PAYMENT._replace(saga_id=saga_id(number))
        assert ask(provider, ProviderRequest.CHARGE, probe) == Unknown("stored_http_500"), "it is a probe"
    assert provider.breaker.state == "closed", "the provider answers: others may pass"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Succeeded("pi_1")),
        ({"amount": 1}, Unknown("another_payment")),
        ({"currency": "eur"}, Unknown("another_payment")),
        ({"metadata": {"saga_id": "other"}}, Unknown("another_payment")),
        ({"metadata": None}, Unknown("another_payment")),
        ({"status": "processing"}, Unknown("status_processing")),
    ],
    ids=str,
)
def test_a_charge_that_a_person_names_must_be_this_payments(
    provider: StripeProvider, stub: Stub, change: dict[str, Any], expected: ProviderResult
) -> None:
    intent = {"id": "pi_1", "status": "succeeded", "amount": 3564, "currency": "gbp"}
    stub.answers(200, {**intent, "metadata": {"saga_id": SAGA}, **change})
    assert ask(provider, ProviderRequest.SHOW_CHARGE) == expected
    assert stub.requests[0].url.path == "/v1/payment_intents/pi_1"


def test_the_list_of_charges_is_read_whatever_is_in_it(provider: StripeProvider, stub: Stub) -> None:
    charge = {"id": "ch_1", "payment_intent": "pi_1", "metadata": {"saga_id": SAGA}, "amount": 3564}
    more = {"currency": "gbp", "status": "succeeded", "refunded": False, "created": 1_800_000_000}
    stub.answers(200, {"data": [{**charge, **more}, {}, 7]})
    found = provider.charges(after="ch_0")
    assert found[0] == ListedCharge("ch_1", "pi_1", SAGA, 3564, "GBP", True, False, 1_800_000_000_000)
    assert [each.succeeded for each in found] == [True, False, False]
    assert dict(stub.requests[0].url.params) == {"limit": "100", "starting_after": "ch_0"}
    stub.answers(503, {})
    with pytest.raises(ProviderSilent):
        provider.charges()


def test_a_card_number_in_the_providers_words_is_not_kept(provider: StripeProvider, stub: Stub) -> None:
    card = "4111111111111111"
    stub.answers(200, {"id": card, "status": "succeeded"})
    assert ask(provider, ProviderRequest.CHARGE) == Unknown("malformed_answer")
    stub.answers(402, {"error": {"type": "card_error", "decline_code": card, "message": card}})
    assert getattr(ask(provider, ProviderRequest.CHARGE), "code", "") == "*" * 16
    stub.answers(200, {"data": [{"id": "ch_1", "payment_intent": card, "status": "succeeded"}]})
    assert provider.charges()[0].reference == "*" * 16
