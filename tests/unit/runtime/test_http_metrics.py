"""Requests are counted by the template of their route, never by what a client sent; problems say little."""

import asyncio

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from tests.callers import calling, problem

from holdfast.runtime import problems
from holdfast.runtime.http_metrics import HttpMetrics, request_seconds
from holdfast.runtime.openapi import serve


async def _answer(_: Request) -> Response:
    return Response(status_code=204)


async def _break(_: Request) -> Response:
    raise RuntimeError("the password is secret")


def application(registry: CollectorRegistry) -> FastAPI:
    app = FastAPI(openapi_url=None)
    problems.install(app)
    serve(app, (("PUT", "/things/{name}", _answer), ("GET", "/broken", _break)))

    @app.get("/typed/{number}")
    async def typed(number: int) -> int:
        return number

    app.add_middleware(HttpMetrics, seconds=request_seconds(registry))
    return app


def test_each_request_is_observed_once_under_its_routes_template() -> None:
    registry = CollectorRegistry()

    async def scenario() -> None:
        async with calling(application(registry)) as client:
            for name in ("a", "b", "c"):
                await client.put(f"/things/{name}")
            await client.get("/typed/7")
            await client.get("/broken")
            await client.get("/nothing/here")
            await client.request("BREW", "/things/a")

    asyncio.run(scenario())

    def seen(route: str, method: str, status: str) -> float | None:
        labels = {"route": route, "method": method, "status": status}
        return registry.get_sample_value("http_server_request_duration_seconds_count", labels)

    assert seen("/things/{name}", "PUT", "204") == 3
    assert seen("/typed/{number}", "GET", "200") == 1
    assert seen("/broken", "GET", "500") == 1
    assert seen("unmatched", "GET", "404") == 1
    assert seen("unmatched", "OTHER", "405") == 1


def test_a_bug_says_nothing_and_a_wrong_parameter_is_not_repeated() -> None:
    async def scenario() -> None:
        async with calling(application(CollectorRegistry())) as client:
            broken = await client.get("/broken", headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})
            assert problem(broken) == (500, "internal_error", [])
            assert "secret" not in broken.text
            assert broken.json()["trace_id"] == "ab" * 16
            wrong = await client.get("/typed/4111-secret")
            assert problem(wrong) == (422, "invalid_request", ["/number"])
            assert "secret" not in str(wrong.json()["errors"]) + wrong.json()["detail"]
            assert "trace_id" not in wrong.json()

    asyncio.run(scenario())
