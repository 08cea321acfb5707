"""What the gateway asks of other services: as itself, for a named user; refusals are logged."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.samples import saga_id

from holdfast.runtime.http_client import HttpClient, Response
from holdfast.runtime.problems import Problem
from holdfast.services.gateway_bff.upstream_clients import UpstreamClients

Calls = list[tuple[str, str, Any]]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> tuple[Calls, list[Response]]:
    """Record calls (path, authorization, body) and answer them with what the test puts into the list."""
    calls: Calls = []
    answers: list[Response] = []

    async def request(
        _: HttpClient, __: str, path: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> Response:
        assert timeout_s > 0
        calls.append((path, headers["authorization"], json.loads(body)))
        return answers.pop(0)

    monkeypatch.setattr(HttpClient, "request", request)
    return calls, answers


def upstreams() -> UpstreamClients:
    return UpstreamClients("http://cart", "http://orchestrator", lambda service: f"Bearer for-{service}")


def test_each_service_is_called_with_a_token_for_it_and_told_for_whom(
    answer: tuple[Calls, list[Response]],
) -> None:
    calls, answers = answer
    answers += [Response(200, {}, b'{"carts": []}'), Response(200, {}, b'{"sagas": [null]}')]

    async def ask() -> None:
        await upstreams().snapshots([("c-1", "ada")])
        assert await upstreams().sagas([(saga_id(1), "ada")]) == [None]

    asyncio.run(ask())
    assert calls == [
        (
            "/internal/v1/snapshots",
            "Bearer for-cart-crud",
            {"carts": [{"cart_id": "c-1", "user_id": "ada"}]},
        ),
        (
            "/internal/v1/sagas",
            "Bearer for-checkout-orchestrator",
            {"sagas": [{"saga_id": saga_id(1), "user_id": "ada"}]},
        ),
    ]


@pytest.mark.parametrize(("status", "logged"), [(401, True), (403, True), (422, True), (503, False)])
def test_a_refused_call_is_a_503_to_the_shopper_and_a_line_for_the_operator(
    answer: tuple[Calls, list[Response]], status: int, logged: bool
) -> None:
    calls, answers = answer
    answers.append(Response(status, {}, b"{}"))
    with capture_logs() as lines, pytest.raises(Problem) as caught:
        asyncio.run(upstreams().cancel(saga_id(1), "ada"))
    assert caught.value.kind.status == 503
    assert calls[0][2] == {"saga_id": saga_id(1), "user_id": "ada"}
    assert [line["event"] for line in lines] == (["internal_call_refused"] if logged else [])
